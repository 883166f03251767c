"""Public data sets as logs; read from where the user keeps them, never shipped."""
