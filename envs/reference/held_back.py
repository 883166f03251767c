"""Two more fields of use, written down before any agent was tuned and never looked at while tuning.

What is tuned on the five of `envs.reference.variants` may suit just them. Benchmarks therefore report on these two as
well; nothing in the project may be chosen by what they show. They were written in one go and are not to be changed.
"""

from __future__ import annotations

from envs.reference.variants import ContentSpec, Variant

HELD_BACK: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            name="grocery",
            contents=(
                ContentSpec("fresh_today", "fresh", 0.9, 0.0, "Picked this morning: berries and greens"),
                ContentSpec("fresh_offer", "fresh", 0.9, 0.2, "A fifth off fruit until Sunday"),
                ContentSpec("pantry_refill", "pantry", 1.2, 0.0, "Time to refill pasta, rice and oil"),
                ContentSpec("pantry_bundle", "pantry", 1.3, 0.15, "Three for less: the pantry bundle"),
                ContentSpec("wine_tasting", "drinks", 1.4, 0.0, "Six bottles from the Douro"),
                ContentSpec("drinks_deal", "drinks", 1.1, 0.25, "A crate for three quarters of the price"),
                ContentSpec("baby_care", "baby", 1.1, 0.0, "All for the little one, at the door tomorrow"),
                ContentSpec("dinner_recipe", "recipes", 1.0, 0.0, "Dinner in twenty minutes: shop the recipe"),
                ContentSpec("dinner_box", "recipes", 1.2, 0.1, "The recipe box, 10 % off"),
            ),
            breadth=1.3,
            rhythms=((7.5, 0.25), (12.0, 0.15), (17.5, 0.6)),
            sharpness=2.7,
            organic_per_week=0.5,
            basket=28.0,
            margin=0.24,
            open_peak=0.7,
            click_peak=0.6,
            convert_peak=0.45,
            elasticity=2.0,
            demand_days=3.0,
            fatigue_hours=40.0,
            fatigue_weight=0.45,
            wear_days=2.5,
            opt_out=0.0009,
            weekday=(0.9, 0.85, 0.9, 1.0, 1.2, 1.3, 0.85),
            sends_per_week=3.0,
            send_cost=0.008,
        ),
        Variant(
            name="gaming",
            contents=(
                ContentSpec("strategy_season", "strategy", 1.2, 0.0, "The new season begins: claim your throne"),
                ContentSpec("strategy_pack", "strategy", 1.3, 0.25, "Starter pack, a quarter off"),
                ContentSpec("puzzle_levels", "puzzle", 0.7, 0.0, "Fifty new levels are waiting"),
                ContentSpec("puzzle_boost", "puzzle", 0.7, 0.35, "Boosters for a third less"),
                ContentSpec("racing_event", "racing", 1.1, 0.0, "Tonight: the midnight race"),
                ContentSpec("racing_car", "racing", 1.5, 0.1, "The car of the month, 10 % off"),
                ContentSpec("social_gift", "social", 0.8, 0.0, "A friend sent you a gift"),
            ),
            breadth=1.1,
            rhythms=((12.5, 0.15), (17.0, 0.25), (21.0, 0.6)),
            sharpness=2.3,
            organic_per_week=0.25,
            basket=9.0,
            margin=0.7,
            open_peak=0.85,
            click_peak=0.7,
            convert_peak=0.4,
            elasticity=1.8,
            demand_days=2.5,
            fatigue_hours=20.0,
            fatigue_weight=0.35,
            wear_days=2.0,
            opt_out=0.0016,
            weekday=(0.9, 0.9, 0.9, 0.95, 1.15, 1.2, 1.0),
            trend_per_day=0.001,
            sends_per_week=4.0,
            send_cost=0.004,
        ),
    )
}
