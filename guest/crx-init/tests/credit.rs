//! Credit bookkeeping against a model of both ends: whatever order things happen in, nothing is sent without credit,
//! no buffer outgrows the initial credit, and a sender whose bytes are all consumed can always go on.

use crx_init::credit::{Overrun, ReceiveWindow, SendCredit};
use orrery_wire::frame::INITIAL_CREDIT;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Consume(usize),
    DeliverCredit,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1usize..100_000).prop_map(Step::Send),
        (1usize..100_000).prop_map(Step::Consume),
        Just(Step::DeliverCredit),
    ]
}

proptest! {
    #[test]
    fn a_sender_within_its_credit_never_overruns_and_never_starves(steps in prop::collection::vec(any_step(), 0..300)) {
        let initial = INITIAL_CREDIT as usize;
        let (mut sender, mut receiver) = (SendCredit::default(), ReceiveWindow::default());
        let (mut buffered, mut credit_under_way) = (0usize, 0u32);
        for step in steps {
            match step {
                Step::Send(wanted) => {
                    let sent = wanted.min(sender.left());
                    sender.spend(sent);
                    prop_assert_eq!(receiver.receive(sent), Ok(()));
                    buffered += sent;
                }
                Step::Consume(wanted) => {
                    let taken = wanted.min(buffered);
                    buffered -= taken;
                    credit_under_way += receiver.consume(taken).unwrap_or(0);
                }
                Step::DeliverCredit => sender.grant(std::mem::take(&mut credit_under_way)),
            }
            prop_assert!(buffered + sender.left() + credit_under_way as usize <= initial);
        }
        credit_under_way += receiver.consume(buffered).unwrap_or(0);
        sender.grant(credit_under_way);
        prop_assert!(sender.left() > 0);
    }

    #[test]
    fn what_exceeds_the_credit_is_refused_whole(excess in 1usize..1_000_000) {
        let mut receiver = ReceiveWindow::default();
        prop_assert_eq!(receiver.receive(INITIAL_CREDIT as usize + excess), Err(Overrun { excess }));
        prop_assert_eq!(receiver.receive(INITIAL_CREDIT as usize), Ok(()));
        prop_assert_eq!(receiver.receive(1), Err(Overrun { excess: 1 }));
    }
}

#[test]
fn granting_saturates_instead_of_wrapping() {
    let mut sender = SendCredit::default();
    sender.grant(u32::MAX);
    assert_eq!(sender.left(), u32::MAX as usize);
}
