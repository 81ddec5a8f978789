"""The fault suite: one adapter with its newest pack, against its simulated portal, judged by what the portal filed.

`scenarios.py` is the table, `trial.py` what a scenario can do, `verdict.py` how one is judged (`endings.py`: how a claim
may end), `stage.py` the real parts that it runs on, `suite.py` the run over all of them. Nothing here knows any OEM.
"""
