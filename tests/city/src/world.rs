//! How much goes wrong in a city: nothing, unless asked.

/// Rates are shares of the orders or offers they concern, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, clap::Args)]
pub struct World {
    /// Orders (a number, not a share) whose content is not valid: wrong total, no items, bad quantity, foreign geo in turn.
    #[arg(long, default_value_t = 0)]
    pub bad_orders: usize,
    /// Messages (a number, not a share) on orders.requests and driver.events in turn that are no Avro at all.
    #[arg(long, default_value_t = 0)]
    pub poison: usize,
    /// Drivers (at least one, if above 0) whose phones fall silent for good: in turn with the meal in the bag and before
    /// they have it.
    #[arg(long, default_value_t = 0.0)]
    pub vanishing: f64,
    /// Offers that drivers decline.
    #[arg(long, default_value_t = 0.0)]
    pub declines: f64,
    /// Offers that drivers never answer; only of offers that expire.
    #[arg(long, default_value_t = 0.0)]
    pub silence: f64,
    /// Orders that customers want to cancel, at some time before the food is ready.
    #[arg(long, default_value_t = 0.0)]
    pub cancels: f64,
    /// Orders that kitchens refuse once they are paid.
    #[arg(long, default_value_t = 0.0)]
    pub kitchen_rejections: f64,
    /// Orders whose kitchen needs up to ten minutes more than announced, and says so halfway.
    #[arg(long, default_value_t = 0.0)]
    pub delays: f64,
}
