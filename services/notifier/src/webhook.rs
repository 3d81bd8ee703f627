//! Webhooks: a message is one HTTP POST of JSON, signed, with an id by which the receiver drops what the network repeated
//! (see [`signature`]). A receiver that fails is left alone for a while (see [`receivers`](crate::receivers)).
//!
//! An answer of 2xx has taken it; 4xx (but 408 and 429) never will; everything else is tried again. Redirects are not
//! followed: an address that moved has to be given anew.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use contracts::notifications::Recipient;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, redirect};
use serde::Serialize;
use uuid::Uuid;

use crate::notification::Delivery;
use crate::occurrence::Occurrence;
use crate::receivers::{Limits, Receivers};
use crate::signature::{self, Secret};

/// What is to be posted where.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    pub notification_id: Uuid,
    pub recipient: Recipient,
    pub url: String,
    pub body: String,
    pub traceparent: String,
}

/// The JSON that is posted.
#[derive(Serialize)]
pub struct Body<'a> {
    pub notification_id: Uuid,
    pub event: &'a str,
    pub occurred_at: DateTime<Utc>,
    pub geo: &'a str,
    pub order_id: Uuid,
    pub recipient: &'a Recipient,
    pub text: &'a str,
}

impl<'a> Body<'a> {
    pub fn new(
        notification_id: Uuid,
        of: &'a Occurrence,
        recipient: &'a Recipient,
        text: &'a str,
    ) -> Self {
        let (event, occurred_at, geo, order_id) =
            (of.event, of.occurred_at, of.geo.as_str(), of.order_id);
        Self {
            notification_id,
            event,
            occurred_at,
            geo,
            order_id,
            recipient,
            text,
        }
    }
}

pub struct Webhooks {
    client: Client,
    secrets: Vec<Secret>,
    receivers: Receivers,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub delivery: Delivery,
    /// How long the receiver is to be left alone.
    pub wait: Option<Duration>,
}

impl Webhooks {
    /// `timeout`: bound of a whole call; `secrets`: what every message is signed with.
    pub fn new(timeout: Duration, secrets: Vec<Secret>, limits: Limits) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .build()?;
        let receivers = Receivers::new(limits);
        Ok(Self {
            client,
            secrets,
            receivers,
        })
    }

    /// Delivers a message unless its receiver is to be left alone.
    pub async fn try_deliver(&self, post: &Post) -> Tried {
        let leave = match self.receivers.admit(&post.url, Instant::now()) {
            Ok(leave) => leave,
            Err(wait) => {
                return Tried {
                    delivery: Delivery::Held,
                    wait: Some(wait),
                };
            }
        };
        let delivery = self.deliver(post).await;
        let alive = !matches!(delivery, Delivery::Failed(_));
        let wait = self
            .receivers
            .record(&post.url, leave, alive, Instant::now());
        Tried { delivery, wait }
    }

    async fn deliver(&self, post: &Post) -> Delivery {
        let (id, now) = (post.notification_id.to_string(), Utc::now().timestamp());
        let signature = signature::header(&self.secrets, &post.recipient, &id, now, &post.body);
        let request = self
            .client
            .post(&post.url)
            .header(CONTENT_TYPE, "application/json")
            .header(signature::ID, id)
            .header(signature::TIMESTAMP, now)
            .header("traceparent", &post.traceparent)
            .body(post.body.clone());
        let request = match signature {
            Some(signature) => request.header(signature::SIGNATURE, signature),
            None => request,
        };
        match request.send().await.map(|response| response.status()) {
            Ok(status) if status.is_success() => Delivery::Accepted,
            Ok(status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)) => {
                Delivery::Failed(format!("status {status}"))
            }
            Ok(status) if status.is_client_error() => Delivery::Refused(format!("status {status}")),
            Ok(status) => Delivery::Failed(format!("status {status}")),
            Err(error) if error.is_builder() => Delivery::Refused(error.to_string()),
            Err(error) => Delivery::Failed(error.to_string()),
        }
    }
}
