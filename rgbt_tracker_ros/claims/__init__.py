"""`rgbt claims`: the distillation recipes' claims, measured on made-up scenes and judged."""
