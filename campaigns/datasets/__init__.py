"""Public data sets as logs; read from where the user keeps them, never shipped."""

FIT_ONLY = {
    "online_shoppers": "nothing was ever sent to these sessions",
    "in_vehicle_coupon": "every row is an answer to a coupon, and which was shown follows an unpublished design",
}
"""Sets from which purchase probabilities can be learned and no policy, with the reason."""

PUBLIC_SETS = ("hillstrom", "complete_journey", "open_bandit", *FIT_ONLY)
"""Every public data set that can be read as a log."""
