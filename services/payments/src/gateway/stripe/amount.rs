//! Amounts as Stripe counts them: in the smallest unit of a currency, with exceptions to ISO 4217.
//!
//! Source: <https://docs.stripe.com/currencies#zero-decimal>, special cases included. Where the units differ an amount is
//! converted exactly or not at all: rounding would charge what nobody asked for.

use contracts::value::Money;
use thiserror::Error;

use super::Outcome;

/// An amount in Stripe's units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeAmount {
    pub value: i64,
    /// ISO 4217 in small letters.
    pub currency: String,
}

/// Stripe has no unit for this amount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{amount_minor} minor units of {currency} are no whole number of Stripe's units")]
pub struct NoSuchAmount {
    amount_minor: i64,
    currency: String,
}

impl NoSuchAmount {
    pub(super) fn decline(&self) -> Outcome {
        Outcome::Declined {
            invalid: true,
            code: "amount_not_representable".to_owned(),
            message: Some(self.to_string()),
        }
    }
}

impl StripeAmount {
    pub fn new(money: &Money) -> Result<Self, NoSuchAmount> {
        let minor = money.amount_minor;
        let value = match money.currency.as_str() {
            // No decimals in ISO 4217 any more, two at Stripe, which has to be zeros.
            "ISK" | "UGX" => minor.checked_mul(100),
            // Two decimals in ISO 4217, none at Stripe.
            "MGA" => (minor % 100 == 0).then_some(minor / 100),
            // Three decimals at both, but the last one must be a zero.
            "BHD" | "JOD" | "KWD" | "OMR" | "TND" => (minor % 10 == 0).then_some(minor),
            // Two decimals at both, or none at both (JPY and its like): minor units are Stripe's units.
            _ => Some(minor),
        };
        let currency = money.currency.to_ascii_lowercase();
        value.map(|value| Self { value, currency }).ok_or_else(|| {
            let (amount_minor, currency) = (minor, money.currency.clone());
            NoSuchAmount {
                amount_minor,
                currency,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_converted_exactly_or_not_at_all() {
        let value = |amount_minor, currency: &str| {
            let currency = currency.to_owned();
            let money = Money {
                amount_minor,
                currency,
            };
            StripeAmount::new(&money).ok().map(|it| it.value)
        };
        assert_eq!(value(1250, "EUR"), Some(1250));
        assert_eq!(value(1250, "JPY"), Some(1250), "yen have no cents");
        assert_eq!(value(1250, "KRW"), Some(1250));
        assert_eq!(value(1250, "ISK"), Some(125_000));
        assert_eq!(value(1250, "UGX"), Some(125_000));
        assert_eq!(value(1200, "MGA"), Some(12));
        assert_eq!(value(1250, "MGA"), None);
        assert_eq!(value(1250, "KWD"), Some(1250));
        assert_eq!(value(1255, "KWD"), None);
        assert_eq!(value(i64::MAX, "ISK"), None);
    }
}
