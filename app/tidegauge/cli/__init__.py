"""The command `tidegauge`: flags, environment variables, help, exit status.

A command only reads its flags; the work is done by the package that it is about, which is imported when the command runs, so
that `tidegauge --help` is fast. May use every package. Begin with ``main.py``. ``options.py`` has the common parts of all
flags, and the larger commands have files of their own (such as ``console_command.py``, ``report_command.py``,
``bridge_commands.py``).
"""
