//! Stripe, by its PaymentIntents API (<https://docs.stripe.com/api/payment_intents>, version [`VERSION`]).
//!
//! A charge is one request that creates, authorises and captures a PaymentIntent; a refund names the PaymentIntent. Every
//! request that moves money carries the call's key as `Idempotency-Key`, and as metadata, because Stripe forgets keys
//! after a day: what is older is looked up by metadata before it is repeated.
//!
//! What counts as what: 402 with a `card_error` is a decline and final, and so is a request whose amount, currency or
//! payment method Stripe finds fault with. All else that went wrong leaves open what happened: 409, 429, 5xx, broken
//! connections, timeouts; and also a refused key or parameter, which is a fault of this program or its configuration and
//! must fail no order. Costs: a second request for an answer that is not final yet.

pub mod amount;
mod answer;

use std::env;
use std::fmt;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use runtime::ConfigError;
use serde::de::DeserializeOwned;

use self::amount::StripeAmount;
use self::answer::{Intent, Judgement, Page, Problem, Refund};
use super::{Call, Gateway, Outcome};

/// The version of the API whose shapes are spoken; pinned, whatever the account's default is.
pub const VERSION: &str = "2026-08-26.dahlia";
/// Environment variable that holds the secret key: the only place it is read from.
pub const API_KEY: &str = "STRIPE_API_KEY";

/// Stripe keeps keys for at least 24 hours; an hour is left for a call that is on its way.
const KEY_LIFE: TimeDelta = TimeDelta::hours(23);
/// Name of the key among the metadata.
const KEY: &str = "idempotency_key";

/// A secret key; it is never printed.
pub struct ApiKey(String);

impl ApiKey {
    pub fn new(key: &str) -> Option<Self> {
        let printable = !key.is_empty() && key.chars().all(|c| c.is_ascii_graphic());
        printable.then(|| Self(key.to_owned()))
    }

    pub fn from_env() -> Result<Self, ConfigError> {
        let key = env::var(API_KEY).unwrap_or_default();
        Self::new(&key).ok_or_else(|| {
            let problem = "payments.gateway = stripe needs Stripe's secret key here";
            ConfigError::invalid(API_KEY, "(not a key)", problem)
        })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

pub struct StripeGateway {
    client: Client,
    base: String,
    key: ApiKey,
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

impl StripeGateway {
    /// `base`: URL without a path; `timeout`: bound of each of the at most three requests of a call.
    pub fn new(
        base: &str,
        key: ApiKey,
        timeout: Duration,
        connect_timeout: Duration,
    ) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(connect_timeout)
            .build()?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            key,
        })
    }

    async fn settle(&self, call: &Call) -> Result<Outcome, Problem> {
        let forgotten = Utc::now() - call.asked_at() > KEY_LIFE;
        match call {
            Call::Capture {
                amount,
                payment_method,
                order_id,
                key,
                ..
            } => {
                let amount = match StripeAmount::new(amount) {
                    Ok(amount) => amount,
                    Err(problem) => return Ok(problem.decline()),
                };
                let known = if forgotten {
                    self.find_intent(key).await?
                } else {
                    None
                };
                let intent = match known {
                    Some(intent) => intent,
                    None => {
                        let order_id = order_id.to_string();
                        let created = self.create(key, &amount, payment_method, &order_id).await;
                        match created.map_err(Problem::into_decline) {
                            Ok(intent) => intent,
                            Err(Ok(declined)) => return Ok(declined),
                            Err(Err(problem)) => return Err(problem),
                        }
                    }
                };
                self.settle_intent(intent, &amount).await
            }
            Call::Refund {
                key,
                capture_reference,
                amount,
                order_id,
                ..
            } => {
                let amount =
                    StripeAmount::new(amount).map_err(|it| Problem::Unclear(it.to_string()))?;
                let order_id = order_id.to_string();
                self.refund(key, capture_reference, &amount, &order_id, forgotten)
                    .await
            }
        }
    }

    /// A PaymentIntent may still be on its way when it is created, and the answer to a key stays what it first was: what
    /// has become of it since is asked by its id.
    async fn settle_intent(
        &self,
        intent: Intent,
        amount: &StripeAmount,
    ) -> Result<Outcome, Problem> {
        let id = intent.id.clone();
        if let Judgement::Final(outcome) = intent.judge(amount)? {
            return Ok(outcome);
        }
        let path = format!("payment_intents/{id}");
        let intent: Intent = self.get(&path, &[]).await?;
        match intent.judge(amount)? {
            Judgement::Final(outcome) => Ok(outcome),
            Judgement::Open(status) => Err(Problem::Unclear(format!("{id} is {status}"))),
        }
    }

    async fn create(
        &self,
        key: &str,
        amount: &StripeAmount,
        payment_method: &str,
        order_id: &str,
    ) -> Result<Intent, Problem> {
        let form = [
            ("amount", amount.value.to_string()),
            ("currency", amount.currency.clone()),
            ("payment_method", payment_method.to_owned()),
            ("confirm", "true".to_owned()),
            ("capture_method", "automatic".to_owned()),
            // Nobody is there to be sent to another page or asked for a code: what needs it is declined.
            ("automatic_payment_methods[enabled]", "true".to_owned()),
            (
                "automatic_payment_methods[allow_redirects]",
                "never".to_owned(),
            ),
            ("error_on_requires_action", "true".to_owned()),
            ("metadata[order_id]", order_id.to_owned()),
            ("metadata[idempotency_key]", key.to_owned()),
        ];
        self.post("payment_intents", key, &form).await
    }

    async fn refund(
        &self,
        key: &str,
        intent: &str,
        amount: &StripeAmount,
        order_id: &str,
        forgotten: bool,
    ) -> Result<Outcome, Problem> {
        if forgotten && let Some(refund) = self.find_refund(intent, |it| it.has_key(key)).await? {
            return self.settle_refund(refund, amount).await;
        }
        let form = [
            ("payment_intent", intent.to_owned()),
            ("amount", amount.value.to_string()),
            ("metadata[order_id]", order_id.to_owned()),
            ("metadata[idempotency_key]", key.to_owned()),
        ];
        match self.post::<Refund>("refunds", key, &form).await {
            Ok(refund) => self.settle_refund(refund, amount).await,
            // Somebody has given all of it back by hand: it must not go back twice.
            Err(problem) if problem.is_code("charge_already_refunded") => {
                let refund = self.find_refund(intent, Refund::succeeded).await?;
                refund.map(Refund::into_outcome).ok_or(problem)
            }
            Err(problem) => Err(problem),
        }
    }

    async fn settle_refund(
        &self,
        refund: Refund,
        amount: &StripeAmount,
    ) -> Result<Outcome, Problem> {
        let id = refund.id.clone();
        if let Judgement::Final(outcome) = refund.judge(amount)? {
            return Ok(outcome);
        }
        let refund: Refund = self.get(&format!("refunds/{id}"), &[]).await?;
        match refund.judge(amount)? {
            Judgement::Final(outcome) => Ok(outcome),
            Judgement::Open(status) => Err(Problem::Unclear(format!("{id} is {status}"))),
        }
    }

    /// The index of the search lags by minutes at most; it is asked about what is hours old.
    async fn find_intent(&self, key: &str) -> Result<Option<Intent>, Problem> {
        let query = format!("metadata['{KEY}']:'{key}'");
        let page: Page<Intent> = self
            .get("payment_intents/search", &[("query", &query)])
            .await?;
        Ok(page.data.into_iter().next())
    }

    async fn find_refund(
        &self,
        intent: &str,
        is_it: impl Fn(&Refund) -> bool,
    ) -> Result<Option<Refund>, Problem> {
        let query = [("payment_intent", intent), ("limit", "100")];
        let page: Page<Refund> = self.get("refunds", &query).await?;
        Ok(page.data.into_iter().find(is_it))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        form: &[(&str, String)],
    ) -> Result<T, Problem> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .client
            .post(format!("{}/v1/{path}", self.base))
            .header("idempotency-key", key)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        self.send(request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Pairs<'_>) -> Result<T, Problem> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish();
        let url = format!("{}/v1/{path}?{query}", self.base);
        self.send(self.client.get(url)).await
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Problem> {
        let request = request
            .bearer_auth(&self.key.0)
            .header("stripe-version", VERSION);
        let response = request.send().await.map_err(|it| Problem::of(&it))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|it| Problem::of(&it))?;
        if status.is_success() {
            serde_json::from_slice(&body)
                .map_err(|error| Problem::Failed(format!("unreadable answer: {error}")))
        } else {
            Err(Problem::refused(status.as_u16(), &body))
        }
    }
}

impl Gateway for StripeGateway {
    fn perform<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.settle(call)
                .await
                .unwrap_or_else(Problem::into_outcome)
        })
    }
}
