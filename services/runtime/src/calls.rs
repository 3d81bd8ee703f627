//! Calls to the world outside: started in order, a bounded number at a time, answered to the lane that asked.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::lane::LaneId;
use crate::processor::Processor;

/// An answer, and the incarnation of the lane that asked: any other has asked again itself.
pub(crate) struct Answered<A> {
    pub(crate) lane: LaneId,
    pub(crate) incarnation: u64,
    pub(crate) answer: A,
}

/// The calls of a process.
pub(crate) struct Calls<P: Processor> {
    processor: Arc<P>,
    waiting: VecDeque<(LaneId, u64, P::Call)>,
    running: usize,
    limit: usize,
    answers: UnboundedSender<Answered<P::Answer>>,
    answered: UnboundedReceiver<Answered<P::Answer>>,
}

impl<P: Processor> Calls<P> {
    pub(crate) fn new(processor: Arc<P>, limit: usize) -> Self {
        let (answers, answered) = unbounded_channel();
        Self {
            processor,
            waiting: VecDeque::new(),
            running: 0,
            limit,
            answers,
            answered,
        }
    }

    pub(crate) fn enqueue(
        &mut self,
        lane: &LaneId,
        incarnation: u64,
        calls: impl IntoIterator<Item = P::Call>,
    ) {
        self.waiting.extend(
            calls
                .into_iter()
                .map(|call| (lane.clone(), incarnation, call)),
        );
        self.start();
    }

    /// Drops calls not yet started whose lane is no longer that incarnation.
    pub(crate) fn retain(&mut self, is_current: impl Fn(&LaneId, u64) -> bool) {
        self.waiting
            .retain(|(lane, incarnation, _)| is_current(lane, *incarnation));
    }

    fn start(&mut self) {
        while self.running < self.limit
            && let Some((lane, incarnation, call)) = self.waiting.pop_front()
        {
            self.running += 1;
            let (processor, answers) = (self.processor.clone(), self.answers.clone());
            tokio::spawn(async move {
                let answer = processor.call(call).await;
                // The engine is gone only when the process is ending.
                _ = answers.send(Answered {
                    lane,
                    incarnation,
                    answer,
                });
            });
        }
        metrics::gauge!("runtime_calls_waiting").set(self.waiting.len() as f64);
    }

    /// An answer that is already there.
    pub(crate) fn try_next(&mut self) -> Option<Answered<P::Answer>> {
        let answered = self.answered.try_recv().ok()?;
        self.finished();
        Some(answered)
    }

    /// Waits for an answer.
    pub(crate) async fn next(&mut self) -> Option<Answered<P::Answer>> {
        let answered = self.answered.recv().await?;
        self.finished();
        Some(answered)
    }

    fn finished(&mut self) {
        self.running -= 1;
        self.start();
    }
}
