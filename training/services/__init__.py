"""Services for reading, and for the changes that are no training. `TrainingManager` has one of each.

`models`, `backups`, `sessions`, `stores` and `downloads` serve what is stored, `report_cache` the reports of
sessions, `status` the summary of GET /train/status. `data_health` and `system` tell what is wrong, and
`worker_reload` makes all web workers load their models again.
"""
