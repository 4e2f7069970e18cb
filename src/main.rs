//! The `emporium` program; see [`emporium::cli`].

fn main() -> std::process::ExitCode {
    emporium::cli::run()
}
