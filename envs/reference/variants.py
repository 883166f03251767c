"""Five fields of use, each with its own contents, rhythms, tempers and economics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from campaigns.errors import CampaignError


@dataclass(frozen=True)
class ContentSpec:
    """One content.

    Attributes:
        content_id: its name.
        category: what it is about.
        price: basket of a purchase that it leads to, relative to the customer's usual one, before the discount.
        discount: share of the price given away where the customer redeems it.
        text: what the push says.
        season: how strongly its success hangs on the time of the year; 0 not at all.
        season_peak: day of the year at which it sells best.
        channel: the road by which it goes, one of `envs.reference.channels.CHANNELS`.
    """

    content_id: str
    category: str
    price: float
    discount: float
    text: str
    season: float = 0.0
    season_peak: float = 0.0
    channel: str = "push"


@dataclass(frozen=True)
class Variant:
    """One world. Rates are per customer; hours are local; money is in currency.

    Attributes:
        name: of the field of use.
        contents: what can be sent.
        breadth: of interests: width of the Gaussian match in the taste space.
        rhythms: (hour, share) of the modes of the day, in the order of the hours.
        sharpness: concentration of attention around a mode (von Mises kappa).
        organic_per_week: purchases a week that an undisturbed average customer makes unasked.
        basket: average basket of an undiscounted purchase.
        margin: share of a basket that is margin.
        open_peak: probability of opening at best: in the best hour, fully interested, rested, nothing worn out.
        click_peak: probability of clicking an opened push at full interest.
        convert_peak: probability of buying after a click, at the usual price and with full demand.
        elasticity: by how much the log of conversion falls for the most price-sensitive where the price doubles.
        demand_days: days until demand has filled up by 63 % after a purchase.
        fatigue_hours: median half-life of fatigue.
        fatigue_weight: median fatigue sensitivity: the reciprocal of the recent sends that halve attention.
        wear_days: half-life of a content's wear-out.
        opt_out: probability that a send to a rested customer of middling interest ends the consent.
        weekday: multiplier of demand, Monday to Sunday.
        trend_per_day: relative growth of demand a day.
        sends_per_week: what the logging policy aims at.
        send_cost: cost of one push.
        appeal_drift: standard deviation of the step that the logarithm of each content's appeal takes in a month of 28
            days; its walk is the variant's own, whoever the customers are. 0: contents appeal for ever as they did.
        fatigue_drift: relative growth of everybody's fatigue sensitivity a month.
        exploration: share of the logging policy's decisions that chance draws; the others follow a fixed habit.
    """

    name: str
    contents: tuple[ContentSpec, ...]
    breadth: float
    rhythms: tuple[tuple[float, float], ...]
    sharpness: float
    organic_per_week: float
    basket: float
    margin: float
    open_peak: float
    click_peak: float
    convert_peak: float
    elasticity: float
    demand_days: float
    fatigue_hours: float
    fatigue_weight: float
    wear_days: float
    opt_out: float
    weekday: tuple[float, ...] = field(default=(1.0,) * 7)
    trend_per_day: float = 0.0
    sends_per_week: float = 3.5
    send_cost: float = 0.01
    appeal_drift: float = 0.0
    fatigue_drift: float = 0.0
    exploration: float = 1.0

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the C categories, in order of first appearance."""
        return tuple(dict.fromkeys(content.category for content in self.contents))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the M channels, in order of first appearance."""
        return tuple(dict.fromkeys(content.channel for content in self.contents))


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            name="ecommerce",
            contents=(
                ContentSpec("fashion_new", "fashion", 1.0, 0.0, "New arrivals picked for your wardrobe"),
                ContentSpec("fashion_sale", "fashion", 1.1, 0.15, "15 % off this season's favourites"),
                ContentSpec("electronics_new", "electronics", 1.35, 0.0, "The gadgets everyone waits for are here"),
                ContentSpec("electronics_deal", "electronics", 1.4, 0.2, "A fifth off headphones and more"),
                ContentSpec("home_ideas", "home", 1.2, 0.0, "Fresh ideas for your living room"),
                ContentSpec("home_sale", "home", 1.2, 0.1, "10 % off everything that makes a home"),
                ContentSpec("beauty_new", "beauty", 0.8, 0.0, "Discover the new skin care line"),
                ContentSpec("beauty_clearance", "beauty", 0.9, 0.45, "Clearance: almost half price on beauty"),
                ContentSpec("sports_new", "sports", 1.1, 0.0, "Gear up: new running shoes"),
                ContentSpec("sports_deal", "sports", 1.1, 0.15, "15 % off all outdoor gear"),
            ),
            breadth=1.0,
            rhythms=((9.0, 0.2), (13.5, 0.2), (19.3, 0.6)),
            sharpness=2.8,
            organic_per_week=0.12,
            basket=46.0,
            margin=0.42,
            open_peak=0.75,
            click_peak=0.65,
            convert_peak=0.55,
            elasticity=1.6,
            demand_days=5.0,
            fatigue_hours=30.0,
            fatigue_weight=0.5,
            wear_days=3.0,
            opt_out=0.0012,
            weekday=(0.95, 0.9, 0.9, 0.95, 1.05, 1.15, 1.1),
            trend_per_day=0.002,
        ),
        Variant(
            name="banking",
            contents=(
                ContentSpec("savings_rate", "saving", 1.0, 0.0, "Your savings could earn more"),
                ContentSpec("savings_bonus", "saving", 1.1, 0.15, "A bonus for your first deposit"),
                ContentSpec("loan_offer", "credit", 1.5, 0.0, "A loan at your personal rate"),
                ContentSpec("loan_discount", "credit", 1.5, 0.2, "Half a point off until Friday"),
                ContentSpec("card_upgrade", "cards", 0.8, 0.0, "Upgrade to the travel card"),
                ContentSpec("card_cashback", "cards", 0.9, 0.3, "Cash back on your first purchases"),
                ContentSpec("insurance_check", "insurance", 1.2, 0.0, "Is your home insured well enough?"),
                ContentSpec("invest_start", "investing", 1.3, 0.0, "Start investing with 25 a month"),
            ),
            breadth=1.1,
            rhythms=((9.5, 0.55), (13.5, 0.3), (19.0, 0.15)),
            sharpness=2.8,
            organic_per_week=0.015,
            basket=250.0,
            margin=0.45,
            open_peak=0.65,
            click_peak=0.5,
            convert_peak=0.32,
            elasticity=1.2,
            demand_days=20.0,
            fatigue_hours=110.0,
            fatigue_weight=0.9,
            wear_days=5.0,
            opt_out=0.00035,
            weekday=(1.1, 1.1, 1.1, 1.1, 1.1, 0.8, 0.7),
            sends_per_week=2.5,
            send_cost=0.02,
        ),
        Variant(
            name="entertainment",
            contents=(
                ContentSpec("drama_release", "drama", 1.0, 0.0, "A new season of your kind of drama"),
                ContentSpec("drama_rental", "drama", 0.9, 0.3, "Rent it tonight, 30 % off"),
                ContentSpec("comedy_release", "comedy", 0.9, 0.0, "Laugh tonight: new stand-up"),
                ContentSpec("comedy_rental", "comedy", 0.8, 0.3, "Comedy classics for less"),
                ContentSpec("sport_live", "sport", 1.5, 0.0, "Live in an hour: the derby"),
                ContentSpec("sport_pass", "sport", 1.6, 0.2, "A day pass for the whole weekend"),
                ContentSpec("kids_release", "kids", 0.8, 0.0, "New adventures for the little ones"),
                ContentSpec("docu_release", "documentary", 0.9, 0.0, "Under the ice: a new series"),
                ContentSpec("music_live", "music", 1.2, 0.0, "The concert, front row, at home"),
            ),
            breadth=1.6,
            rhythms=((8.0, 0.15), (14.5, 0.2), (19.5, 0.65)),
            sharpness=2.6,
            organic_per_week=0.35,
            basket=6.5,
            margin=0.65,
            open_peak=0.8,
            click_peak=0.65,
            convert_peak=0.65,
            elasticity=2.5,
            demand_days=1.6,
            fatigue_hours=14.0,
            fatigue_weight=0.25,
            wear_days=3.0,
            opt_out=0.001,
            weekday=(0.8, 0.8, 0.85, 0.95, 1.2, 1.3, 1.1),
            sends_per_week=3.5,
            send_cost=0.005,
        ),
        Variant(
            name="health",
            contents=(
                ContentSpec("checkup_reminder", "prevention", 1.4, 0.0, "It is time for your yearly check-up"),
                ContentSpec("vaccination", "prevention", 1.0, 0.0, "Flu season: book your vaccination"),
                ContentSpec("refill_reminder", "medication", 1.0, 0.0, "Your prescription runs out soon"),
                ContentSpec("refill_saver", "medication", 1.1, 0.2, "Order a refill and save a fifth"),
                ContentSpec("vitamins", "wellness", 0.7, 0.0, "Vitamins for the dark months"),
                ContentSpec("vitamins_offer", "wellness", 0.8, 0.4, "Vitamins at almost half price"),
                ContentSpec("sleep_course", "coaching", 1.3, 0.0, "Sleep better in three weeks"),
                ContentSpec("back_training", "coaching", 1.2, 0.1, "Ten minutes a day for your back"),
            ),
            breadth=1.2,
            rhythms=((8.5, 0.6), (13.0, 0.2), (18.5, 0.2)),
            sharpness=2.4,
            organic_per_week=0.08,
            basket=40.0,
            margin=0.42,
            open_peak=0.8,
            click_peak=0.6,
            convert_peak=0.6,
            elasticity=1.5,
            demand_days=8.0,
            fatigue_hours=72.0,
            fatigue_weight=0.6,
            wear_days=6.0,
            opt_out=0.0008,
            weekday=(1.2, 1.1, 1.1, 1.0, 1.0, 0.8, 0.8),
            sends_per_week=3.0,
        ),
        Variant(
            name="travel",
            contents=(
                ContentSpec("city_break", "city", 1.0, 0.0, "Two nights in Lisbon"),
                ContentSpec("city_deal", "city", 1.0, 0.25, "City hotels a quarter off"),
                ContentSpec("beach_summer", "beach", 1.4, 0.0, "The sea is calling", 1.5, 120.0),
                ContentSpec("beach_last_minute", "beach", 1.3, 0.3, "Last minute: the beach, 30 % off", 1.5, 120.0),
                ContentSpec("ski_week", "mountains", 1.4, 0.0, "Fresh snow in the Alps", 3.0, 20.0),
                ContentSpec("hiking", "mountains", 0.9, 0.0, "Huts and trails for the long weekend", 1.5, 140.0),
                ContentSpec("cruise", "cruise", 1.7, 0.1, "Seven ports, one suitcase"),
                ContentSpec("rail_pass", "rail", 0.8, 0.0, "All of Europe by train"),
            ),
            breadth=1.0,
            rhythms=((9.0, 0.15), (13.5, 0.65), (19.5, 0.2)),
            sharpness=2.8,
            organic_per_week=0.03,
            basket=190.0,
            margin=0.28,
            open_peak=0.75,
            click_peak=0.6,
            convert_peak=0.3,
            elasticity=1.6,
            demand_days=12.0,
            fatigue_hours=48.0,
            fatigue_weight=0.6,
            wear_days=3.5,
            opt_out=0.0008,
            weekday=(0.85, 0.9, 0.9, 1.0, 1.05, 1.1, 1.2),
            trend_per_day=0.006,
            sends_per_week=3.0,
        ),
    )
}


def find_variant(name: str, exploration: float = 1.0) -> Variant:
    """The variant called `name`, also one of those that were held back from tuning.

    Args:
        name: of the variant.
        exploration: share of its logging policy's decisions that chance draws.
    Raises:
        CampaignError: where there is none, or the share is none.
    """
    from envs.reference.held_back import HELD_BACK

    known = VARIANTS | HELD_BACK
    if name not in known:
        raise CampaignError(f"data.variant={name!r}: must be one of {', '.join(known)}.")
    if not 0 < exploration <= 1:
        raise CampaignError(
            f"data.exploration={exploration}: must be above 0 and at most 1; without any draws nothing can be learned."
        )
    return known[name] if exploration == 1 else replace(known[name], exploration=exploration)
