//! Runs the payments processor.

fn main() -> std::process::ExitCode {
    runtime::service::run("payments", &payments::MIGRATIONS, payments::service)
}
