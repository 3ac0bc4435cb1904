//! How often and how long a bench measures.

/// How often and how long.
#[derive(clap::Args)]
pub(super) struct Repeats {
    /// How often each load is run [default: 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: Option<u32>,
    /// How long one load lasts [default: 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: Option<u32>,
}

// === impl Repeats ===

impl Repeats {
    /// Rounds, and seconds of one load; where nothing is asked for as many as a quick look has, or a whole run.
    pub(super) fn or_default(&self, quick: bool) -> (u32, u32) {
        let (rounds, seconds) = if quick { (2, 1) } else { (5, 5) };
        (self.rounds.unwrap_or(rounds), self.seconds.unwrap_or(seconds))
    }
}
