//! Runs the assignment processor.

fn main() -> std::process::ExitCode {
    runtime::service::run("assignment", &assignment::MIGRATIONS, assignment::service)
}
