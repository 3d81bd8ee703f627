//! How a cycle's room is shared among its lanes: nobody's backlog keeps another lane out.

/// A lane with a backlog brings at least so many events, others wait for the next cycle: what a lane costs a cycle, however little
/// it brings, is several events' worth.
const TURN: usize = 128;

/// Most events that a lane may bring so that all together bring `limit`: max-min fairness, so that nobody's backlog keeps
/// another lane out of a cycle; but no less than a [`TURN`].
pub(crate) fn fair_share(mut waiting: Vec<usize>, limit: usize) -> usize {
    waiting.sort_unstable();
    let (mut room, mut lanes) = (limit, waiting.len());
    for events in waiting {
        if events * lanes >= room {
            return (room / lanes).max(TURN);
        }
        room -= events;
        lanes -= 1;
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_leaves_the_others_their_share_of_a_cycle() {
        assert_eq!(fair_share(vec![10_000, 10_000, 5], 1_000), 497);
        assert_eq!(fair_share(vec![5, 10_000], 1_000), 995);
        assert_eq!(
            fair_share(vec![5, 7], 1_000),
            1_000,
            "there is room for all"
        );
        assert_eq!(fair_share(vec![500; 300], 1_000), TURN, "lanes take turns");
        assert_eq!(fair_share(Vec::new(), 10), 10);
    }
}
