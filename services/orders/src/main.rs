//! Runs the orders processor.

fn main() -> std::process::ExitCode {
    runtime::service::run("orders", &orders::MIGRATIONS, orders::service)
}
