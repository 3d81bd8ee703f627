//! Webhooks: a message is one HTTP POST of JSON, with an id by which the receiver drops what the network repeated.
//!
//! An answer of 2xx has taken it; 4xx (but 408 and 429) never will; everything else is tried again. Redirects are not
//! followed: an address that moved has to be given anew.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::notifications::Recipient;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, redirect};
use serde::Serialize;
use uuid::Uuid;

use crate::notification::Delivery;
use crate::occurrence::Occurrence;

/// Header that carries the notification's id.
pub const NOTIFICATION_ID: &str = "notification-id";

/// What is to be posted where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub notification_id: Uuid,
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
}

impl Webhooks {
    /// `timeout`: bound of a whole call.
    pub fn new(timeout: Duration) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self { client })
    }

    pub async fn deliver(&self, post: &Post) -> Delivery {
        let request = self
            .client
            .post(&post.url)
            .header(CONTENT_TYPE, "application/json")
            .header(NOTIFICATION_ID, post.notification_id.to_string())
            .header("traceparent", &post.traceparent)
            .body(post.body.clone());
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
