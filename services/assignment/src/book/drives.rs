//! What deliveries teach of travel times, and the rows that keep it.

use std::collections::btree_map::Entry;

use dispatch::{Applied, At, Input, OrderId, SeenDrive};

use super::Book;

/// A row of `drives` to insert, or to delete because later drives have taken its place.
#[derive(Clone, Debug, PartialEq)]
pub struct DriveRow {
    pub drive: SeenDrive,
    pub is_forgotten: bool,
}

impl Book {
    /// The order is about to be delivered: if that ends a drive, estimates learn from it.
    pub(super) fn learn(&mut self, order_id: OrderId, delivered_at: At) {
        let Some(drive) = self.scheduler.drive_to_door(order_id, delivered_at) else {
            return;
        };
        let hour = self.scheduler.hour(drive.left_at);
        let before = self.scheduler.drives().of_hour(hour).to_vec();
        if self.scheduler.apply(Input::Driven(drive)) != Applied::Changed {
            return;
        }
        let after = self.scheduler.drives().of_hour(hour);
        // The latest are kept, so what is gone stood first.
        let first = after.first().map(SeenDrive::key);
        let gone = before.into_iter().take_while(|it| Some(it.key()) < first);
        let forgotten = gone.map(|drive| DriveRow {
            drive,
            is_forgotten: true,
        });
        let seen = after.iter().filter(|it| it.order_id == order_id);
        let learned = seen.map(|drive| DriveRow {
            drive: *drive,
            is_forgotten: false,
        });
        for row in forgotten.chain(learned) {
            match self.touched.drives.entry(row.drive.key()) {
                // It came and went within one cycle.
                Entry::Occupied(known) if !known.get().is_forgotten => _ = known.remove(),
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => _ = place.insert(row),
            }
        }
    }
}
