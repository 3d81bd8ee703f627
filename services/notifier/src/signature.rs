//! Signatures of webhooks, by Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>), for which there are libraries in
//! most languages: a receiver need write nothing.
//!
//! | header | content |
//! |---|---|
//! | `webhook-id` | the notification's id; who has seen it drops the message |
//! | `webhook-timestamp` | seconds since 1970 when this try was made; a receiver refuses what is older than some minutes |
//! | `webhook-signature` | `v1,` and Base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`; several, parted by spaces |
//!
//! Every receiver has a secret of its own, derived from ours ([`Secret::of`]), so nobody can forge messages to others, and
//! none has to be stored. `notifier webhook-secret RESTAURANT r-1` prints it. While ours changes, both the new and the old
//! one sign. What a receiver does, in constant time, with any of the libraries or with its own HMAC:
//!
//! ```
//! # use hmac::{Hmac, KeyInit, Mac};
//! # use base64::prelude::{BASE64_STANDARD, Engine};
//! fn is_genuine(secret: &[u8], id: &str, timestamp: &str, body: &str, header: &str) -> bool {
//!     header.split(' ').filter_map(|it| it.strip_prefix("v1,")).any(|signature| {
//!         let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("any length will do");
//!         mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
//!         // Never `==`: it tells by its time how much of a forgery is right.
//!         BASE64_STANDARD.decode(signature).is_ok_and(|it| mac.verify_slice(&it).is_ok())
//!     })
//! }
//! # let secret = notifier::signature::Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
//! # let header = secret.sign("id", 1, "{}");
//! # assert!(is_genuine(secret.bytes(), "id", "1", "{}", &header));
//! # assert!(!is_genuine(secret.bytes(), "id", "2", "{}", &header));
//! ```

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use contracts::notifications::Recipient;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const ID: &str = "webhook-id";
pub const TIMESTAMP: &str = "webhook-timestamp";
pub const SIGNATURE: &str = "webhook-signature";

const PREFIX: &str = "whsec_";

/// A key that signs; it is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// `whsec_` and Base64 of 24 to 64 random bytes, as Standard Webhooks has them.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The secret of one receiver: HMAC-SHA256 over `<KIND>/<id>` under this one.
    pub fn of(&self, recipient: &Recipient) -> Self {
        Self(self.mac(format!("{}/{}", recipient.kind.symbol(), recipient.id).as_bytes()))
    }

    /// One signature as it stands in the header.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signature = self.mac(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(signature))
    }

    /// As it is given to its receiver.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(&self.0))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn mac(&self, message: &[u8]) -> Vec<u8> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The whole header: a signature by each of our secrets; none without any.
pub fn header(
    secrets: &[Secret],
    recipient: &Recipient,
    id: &str,
    timestamp: i64,
    body: &str,
) -> Option<String> {
    let signatures = secrets
        .iter()
        .map(|secret| secret.of(recipient).sign(id, timestamp, body));
    let signatures: Vec<String> = signatures.collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::notifications::RecipientKind;

    /// The example of the specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_that_of_the_specifications_example() {
        let secret = Secret::parse(SECRET).unwrap();
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_receiver_has_a_secret_of_its_own_and_every_secret_signs() {
        let recipient = |kind, id: &str| Recipient {
            kind,
            id: id.to_owned(),
        };
        let secret = Secret::parse(SECRET).unwrap();
        let of = |kind, id| secret.of(&recipient(kind, id)).reveal();
        let ours = of(RecipientKind::Restaurant, "r-1");
        assert_ne!(ours, of(RecipientKind::Restaurant, "r-2"));
        assert_ne!(ours, of(RecipientKind::Customer, "r-1"));
        assert_eq!(Secret::parse(&ours).unwrap().reveal(), ours);

        let to = recipient(RecipientKind::Restaurant, "r-1");
        let old = Secret::parse(&ours).unwrap();
        let both = header(&[secret.clone(), old.clone()], &to, "id", 1, "{}").unwrap();
        let one = |secret: &Secret| secret.of(&to).sign("id", 1, "{}");
        assert_eq!(both, format!("{} {}", one(&secret), one(&old)));
        assert_eq!(header(&[], &to, "id", 1, "{}"), None);
    }

    #[test]
    fn what_is_no_secret_is_refused_and_a_secret_is_not_printed() {
        for text in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_%",
        ] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
        assert_eq!(
            format!("{:?}", Secret::parse(SECRET).unwrap()),
            "Secret(..)"
        );
    }
}
