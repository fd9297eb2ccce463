"""An order of models from token statistics over expert solutions (paper C)."""
