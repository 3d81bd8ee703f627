//! Runs the notifier.

fn main() -> std::process::ExitCode {
    runtime::service::run("notifier", &notifier::MIGRATIONS, notifier::service)
}
