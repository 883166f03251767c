"""Five fields of use, each with its own contents, rhythms, tempers and economics."""

from __future__ import annotations

from dataclasses import dataclass, field

from campaigns.errors import CampaignError


@dataclass(frozen=True)
class ContentSpec:
    """One content.

    Attributes:
        content_id: its name.
        category: what it is about.
        price: basket of a purchase that it leads to, relative to the customer's usual one.
        discount: share of the price given away where the customer redeems it.
        text: what the push says.
    """

    content_id: str
    category: str
    price: float
    discount: float
    text: str


@dataclass(frozen=True)
class Variant:
    """One world. Rates are per customer; hours are local; money is in currency.

    Attributes:
        name: of the field of use.
        contents: what can be sent.
        rhythms: (peak hour, share of customers) of the daily attention peaks.
        sharpness: concentration of attention around the peak (von Mises kappa).
        organic_per_week: purchases a week that an undisturbed average customer makes unasked.
        basket: average basket of an undiscounted purchase.
        margin: share of a basket that is margin.
        open_peak: probability of opening at best: peak hour, full interest, rested, fresh.
        click_peak: probability of clicking an opened push at full interest.
        convert_peak: probability of buying after a click with full demand.
        price_pull: how much a discount raises conversion for the most price-sensitive.
        demand_days: days until demand has refilled by 63 % after a purchase.
        fatigue_hours: half-life of fatigue.
        fatigue_weight: how strongly fatigue lowers attention.
        wear_days: half-life of a content's wear-out.
        opt_out: probability that a send to a rested, interested customer makes them opt out.
        weekday: multiplier of organic demand, Monday to Sunday.
        trend_per_day: relative growth of organic demand a day.
        sends_per_week: what the logging policy aims at.
        send_cost: cost of one send.
    """

    name: str
    contents: tuple[ContentSpec, ...]
    rhythms: tuple[tuple[float, float], ...]
    sharpness: float
    organic_per_week: float
    basket: float
    margin: float
    open_peak: float
    click_peak: float
    convert_peak: float
    price_pull: float
    demand_days: float
    fatigue_hours: float
    fatigue_weight: float
    wear_days: float
    opt_out: float
    weekday: tuple[float, ...] = field(default=(1.0,) * 7)
    trend_per_day: float = 0.0
    sends_per_week: float = 3.5
    send_cost: float = 0.01

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the C categories, in order of first appearance."""
        return tuple(dict.fromkeys(content.category for content in self.contents))


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            name="ecommerce",
            contents=(
                ContentSpec("fashion_new", "fashion", 1.0, 0.0, "New arrivals picked for your wardrobe"),
                ContentSpec("fashion_sale", "fashion", 1.1, 0.2, "20 % off this season's favourites"),
                ContentSpec("electronics_new", "electronics", 1.6, 0.0, "The gadgets everyone waits for are here"),
                ContentSpec("electronics_deal", "electronics", 1.5, 0.25, "A quarter off headphones and more"),
                ContentSpec("home_ideas", "home", 1.2, 0.0, "Fresh ideas for your living room"),
                ContentSpec("home_sale", "home", 1.2, 0.15, "15 % off everything that makes a home"),
                ContentSpec("beauty_new", "beauty", 0.7, 0.0, "Discover the new skin care line"),
                ContentSpec("beauty_clearance", "beauty", 0.9, 0.45, "Clearance: almost half price on beauty"),
                ContentSpec("sports_new", "sports", 1.1, 0.0, "Gear up: new running shoes"),
                ContentSpec("sports_deal", "sports", 1.1, 0.2, "20 % off all outdoor gear"),
            ),
            rhythms=((8.5, 0.2), (13.0, 0.25), (20.5, 0.55)),
            sharpness=2.0,
            organic_per_week=0.3,
            basket=48.0,
            margin=0.32,
            open_peak=0.7,
            click_peak=0.6,
            convert_peak=0.4,
            price_pull=1.2,
            demand_days=6.0,
            fatigue_hours=30.0,
            fatigue_weight=0.45,
            wear_days=6.0,
            opt_out=0.0022,
            weekday=(0.95, 0.9, 0.9, 0.95, 1.05, 1.15, 1.1),
            trend_per_day=0.002,
        ),
        Variant(
            name="banking",
            contents=(
                ContentSpec("savings_rate", "saving", 1.0, 0.0, "Your savings could earn more"),
                ContentSpec("savings_bonus", "saving", 1.1, 0.2, "A bonus for your first deposit"),
                ContentSpec("loan_offer", "credit", 1.8, 0.0, "A loan at your personal rate"),
                ContentSpec("loan_discount", "credit", 1.7, 0.25, "Half a point off until Friday"),
                ContentSpec("card_upgrade", "cards", 0.8, 0.0, "Upgrade to the travel card"),
                ContentSpec("card_cashback", "cards", 0.9, 0.3, "Cash back on your first purchases"),
                ContentSpec("insurance_check", "insurance", 1.2, 0.0, "Is your home insured well enough?"),
                ContentSpec("invest_start", "investing", 1.5, 0.0, "Start investing with 25 a month"),
            ),
            rhythms=((9.0, 0.5), (13.0, 0.3), (18.0, 0.2)),
            sharpness=2.4,
            organic_per_week=0.03,
            basket=260.0,
            margin=0.45,
            open_peak=0.65,
            click_peak=0.45,
            convert_peak=0.16,
            price_pull=0.8,
            demand_days=20.0,
            fatigue_hours=72.0,
            fatigue_weight=0.7,
            wear_days=10.0,
            opt_out=0.002,
            weekday=(1.1, 1.1, 1.1, 1.1, 1.1, 0.8, 0.7),
            sends_per_week=2.5,
            send_cost=0.02,
        ),
        Variant(
            name="entertainment",
            contents=(
                ContentSpec("drama_release", "drama", 1.0, 0.0, "A new season of your kind of drama"),
                ContentSpec("drama_rental", "drama", 0.9, 0.3, "Rent it tonight, a third off"),
                ContentSpec("comedy_release", "comedy", 0.9, 0.0, "Laugh tonight: new stand-up"),
                ContentSpec("comedy_rental", "comedy", 0.8, 0.3, "Comedy classics for less"),
                ContentSpec("sport_live", "sport", 1.5, 0.0, "Live in an hour: the derby"),
                ContentSpec("sport_pass", "sport", 1.6, 0.2, "A day pass for the whole weekend"),
                ContentSpec("kids_release", "kids", 0.8, 0.0, "New adventures for the little ones"),
                ContentSpec("docu_release", "documentary", 0.9, 0.0, "Under the ice: a new series"),
                ContentSpec("music_live", "music", 1.2, 0.0, "The concert, front row, at home"),
            ),
            rhythms=((7.5, 0.1), (17.0, 0.3), (20.5, 0.6)),
            sharpness=2.6,
            organic_per_week=0.9,
            basket=6.5,
            margin=0.6,
            open_peak=0.75,
            click_peak=0.65,
            convert_peak=0.6,
            price_pull=0.9,
            demand_days=1.6,
            fatigue_hours=16.0,
            fatigue_weight=0.25,
            wear_days=3.0,
            opt_out=0.0012,
            weekday=(0.8, 0.8, 0.85, 0.95, 1.2, 1.3, 1.1),
            sends_per_week=4.5,
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
            rhythms=((8.5, 0.65), (12.5, 0.15), (18.5, 0.2)),
            sharpness=1.8,
            organic_per_week=0.2,
            basket=38.0,
            margin=0.4,
            open_peak=0.75,
            click_peak=0.55,
            convert_peak=0.5,
            price_pull=0.5,
            demand_days=9.0,
            fatigue_hours=96.0,
            fatigue_weight=0.9,
            wear_days=12.0,
            opt_out=0.0025,
            weekday=(1.2, 1.1, 1.1, 1.0, 1.0, 0.8, 0.8),
            sends_per_week=3.0,
        ),
        Variant(
            name="travel",
            contents=(
                ContentSpec("city_break", "city", 1.0, 0.0, "Two nights in Lisbon"),
                ContentSpec("city_deal", "city", 1.0, 0.25, "City hotels a quarter off"),
                ContentSpec("beach_summer", "beach", 1.6, 0.0, "The sea is calling"),
                ContentSpec("beach_last_minute", "beach", 1.4, 0.35, "Last minute: beach for a third less"),
                ContentSpec("ski_week", "mountains", 1.5, 0.0, "Fresh snow in the Alps"),
                ContentSpec("hiking", "mountains", 0.9, 0.0, "Huts and trails for the long weekend"),
                ContentSpec("cruise", "cruise", 2.2, 0.1, "Seven ports, one suitcase"),
                ContentSpec("rail_pass", "rail", 0.6, 0.0, "All of Europe by train"),
            ),
            rhythms=((12.5, 0.45), (20.0, 0.35), (9.0, 0.2)),
            sharpness=2.0,
            organic_per_week=0.07,
            basket=190.0,
            margin=0.22,
            open_peak=0.7,
            click_peak=0.6,
            convert_peak=0.18,
            price_pull=1.4,
            demand_days=14.0,
            fatigue_hours=48.0,
            fatigue_weight=0.6,
            wear_days=8.0,
            opt_out=0.002,
            weekday=(0.8, 0.85, 0.9, 1.0, 1.1, 1.2, 1.4),
            trend_per_day=0.006,
            sends_per_week=3.0,
        ),
    )
}


def find_variant(name: str) -> Variant:
    """The variant called `name`.

    Raises:
        CampaignError: where there is none.
    """
    if name not in VARIANTS:
        raise CampaignError(f"data.variant={name!r}: must be one of {', '.join(VARIANTS)}.")
    return VARIANTS[name]
