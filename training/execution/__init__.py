"""Where the work of a session is done.

`executor` defines the protocol, `child_process` and `in_process` implement it. `tasks` defines what crosses
the border: tasks and results, which name files below the home folder and carry no secrets. `run_task` does a
task; `worker`, `warm_process` and `ipc` are the child process and its connection.
"""
