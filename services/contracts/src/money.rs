//! Arithmetic on [`Money`] that cannot go wrong silently: other currencies and overflow are errors, not results.

use crate::value::Money;

/// Active codes of ISO 4217, list one, ascending; precious metals and test codes are left out.
const CURRENCIES: [&str; 157] = [
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT",
    "BGN", "BHD", "BIF", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD",
    "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD",
    "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ",
    "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD",
    "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR",
    "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
    "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN",
    "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR",
    "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB",
    "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS",
    "VED", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW",
    "ZWG",
];

/// Two amounts do not go together, or one is no money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("currency {0:?} is not in ISO 4217")]
    UnknownCurrency(String),
    #[error("{0} and {1} are different currencies")]
    CurrencyMismatch(String, String),
    #[error("the amount does not fit 64 bits")]
    Overflow,
}

impl Money {
    /// An amount in minor units of a known currency.
    pub fn new(amount_minor: i64, currency: &str) -> Result<Self, MoneyError> {
        let money = Money {
            amount_minor,
            currency: currency.to_owned(),
        };
        money.check_currency().map(|()| money)
    }

    /// Whether the currency is one; an amount that came off the wire has not been checked.
    pub fn check_currency(&self) -> Result<(), MoneyError> {
        if CURRENCIES.binary_search(&self.currency.as_str()).is_ok() {
            Ok(())
        } else {
            Err(MoneyError::UnknownCurrency(self.currency.clone()))
        }
    }

    pub fn checked_add(&self, other: &Money) -> Result<Money, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    pub fn checked_sub(&self, other: &Money) -> Result<Money, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    fn combine(
        &self,
        other: &Money,
        with: fn(i64, i64) -> Option<i64>,
    ) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            let (one, two) = (self.currency.clone(), other.currency.clone());
            return Err(MoneyError::CurrencyMismatch(one, two));
        }
        let amount = with(self.amount_minor, other.amount_minor).ok_or(MoneyError::Overflow)?;
        Ok(Money {
            amount_minor: amount,
            currency: self.currency.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_one_currency_add_up_and_others_do_not() {
        let euro = Money::new(1_250, "EUR").unwrap();
        assert_eq!(euro.checked_add(&euro).unwrap().amount_minor, 2_500);
        assert_eq!(euro.checked_sub(&euro).unwrap().amount_minor, 0);
        let dollar = Money::new(1, "USD").unwrap();
        let mismatch = MoneyError::CurrencyMismatch("EUR".into(), "USD".into());
        assert_eq!(euro.checked_add(&dollar), Err(mismatch));
        let most = Money::new(i64::MAX, "EUR").unwrap();
        assert_eq!(most.checked_add(&euro), Err(MoneyError::Overflow));
    }

    #[test]
    fn every_currency_of_the_list_is_found() {
        for known in CURRENCIES {
            assert!(Money::new(1, known).is_ok(), "{known}");
        }
    }

    #[test]
    fn a_currency_is_three_capitals_of_the_list() {
        for wrong in ["", "eur", "EU", "EURO", "XYZ", "EUR USD", " "] {
            let error = MoneyError::UnknownCurrency(wrong.to_owned());
            assert_eq!(Money::new(1, wrong), Err(error));
        }
    }
}
