//! Runs the notifier. `notifier webhook-secret KIND ID` instead prints the secret of one receiver of webhooks.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => runtime::service::run("notifier", &notifier::MIGRATIONS, notifier::service),
        ["webhook-secret", kind, id] => {
            let settings = runtime::Settings::load().map_err(anyhow::Error::from);
            match settings.and_then(|settings| notifier::webhook_secret(&settings, kind, id)) {
                Ok(secret) => {
                    println!("{secret}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("notifier: {error:#}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            eprintln!("usage: notifier [webhook-secret CUSTOMER|RESTAURANT|OPERATIONS ID]");
            ExitCode::FAILURE
        }
    }
}
