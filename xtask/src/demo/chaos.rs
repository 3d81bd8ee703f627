//! Processors killed without warning, at moments and in an order that a seed decides.

use anyhow::Result;

use crate::processors::{PROCESSORS, Processors};

/// Kills, spread over the run.
pub struct Chaos {
    random: u64,
    next: u64,
    kills: u32,
}

/// Seconds between two kills: from, and how many more at most.
const PAUSE: (u64, u64) = (3, 5);

impl Chaos {
    pub fn new(seed: u64) -> Self {
        let mut chaos = Self {
            random: seed,
            next: 0,
            kills: 0,
        };
        chaos.next = 1 + chaos.draw(PAUSE.1);
        chaos
    }

    /// Called once a second: kills a processor when it is time.
    pub fn act(&mut self, second: u64, processors: &mut Processors) -> Result<()> {
        processors.check_alive()?;
        if second < self.next {
            return Ok(());
        }
        let victim = PROCESSORS[self.draw(PROCESSORS.len() as u64) as usize];
        eprintln!("demo: kill -9 {victim}");
        processors.kill_and_restart(victim)?;
        self.kills += 1;
        self.next = second + PAUSE.0 + self.draw(PAUSE.1);
        Ok(())
    }

    pub fn kills(&self) -> u32 {
        self.kills
    }

    /// A number below `bound`; splitmix64 (Steele, Lea, Flood 2014), enough for choosing victims.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers_and_another_seed_others() {
        let draws = |seed| {
            let mut chaos = Chaos::new(seed);
            (0..20).map(|_| chaos.draw(4)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }
}
