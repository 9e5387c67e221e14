"""What is kept, and how it stays whole.

`open` opens it all. `files`, `locks`, `sealed` and `processes` are the ground: atomic writes, locks that
death frees, documents with their own hash. `journal` is the one commit point, `appends` what it does to data
files. `versions` and `pointers` hold the models; `csv_store` (with `csv_table`, `csv_headers`, `csv_append`,
`csv_state` and `reports`) the scoring family's files; `backups` (with `snapshot`, `backup_records`, `restore`
and `retention`) their past. `database`, `tables` and `migrations` are the tables; `sessions`, `keys`,
`idempotency` and `workers` use them. `faultpoints` names the instants at which tests strike.
"""
