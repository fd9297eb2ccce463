"""The engine `ray`: the same job, read by a Ray Data pipeline and answered by Ray actors."""
