"""The fault suite: one adapter with its newest pack, against its simulated portal, judged by what the portal filed.

`scenarios.py` is the table, `trial.py` what a scenario can do, `endings.py` how a claim may end, `verdict.py` whether
it did, `stage.py` the real parts that it runs on, `suite.py` the run over all of them. Nothing here knows any OEM.
"""
