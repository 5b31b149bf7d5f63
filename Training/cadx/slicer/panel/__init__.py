"""Parts of the modules' panels: small Qt widgets that show and ask, and leave the work to the logics.

Only the application has Qt as ``qt`` (PythonQt): nothing outside the modules' widgets imports this package. Widgets are
written by their setters and signals; what they show is set from outside.
"""
