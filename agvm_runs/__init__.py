"""What runs leave behind, read without torch and MMEngine, so that a table is there in a second.

:mod:`agvm_runs.work_dir` reads logs, configs and results as text; :mod:`agvm_runs.curves` draws
the modules' curves; :mod:`agvm_runs.report` writes a page about a run; :mod:`agvm_runs.reproduce`
sets the paper's tables beside what was measured.
"""
