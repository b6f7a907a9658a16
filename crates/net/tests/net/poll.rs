//! Waiting and waking.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use turnbuckle_net::{Arena, Events, Poll, Waker};

use crate::support::{listener, peer, relay_socket};

#[test]
fn what_is_left_unread_is_reported_again() {
    let relay = relay_socket("127.0.0.1");
    let client = peer("127.0.0.1");
    let mut poll = Poll::new().unwrap();
    poll.add(&relay, 7).unwrap();
    for _ in 0..2 {
        client.send_to(b"x", relay.local_address()).unwrap();
    }
    let mut arena = Arena::new(1, 16);
    let mut events = Events::with_capacity(8);
    for _ in 0..2 {
        poll.wait(None, &mut events).unwrap();
        assert_eq!(tokens(&events), [7]);
        assert!(
            events
                .iter()
                .all(|event| event.readable && !event.error && !event.hangup)
        );
        assert!(relay.receive(&mut arena, 0).unwrap().is_some());
    }
    poll.wait(Some(Duration::ZERO), &mut events).unwrap();
    assert!(events.is_empty());
}

#[test]
fn members_can_be_renamed_and_removed() {
    let waker = Waker::new().unwrap();
    waker.wake();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    poll.add(&waker, 1).unwrap();
    let error = poll.add(&waker, 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    poll.modify(&waker, u64::MAX).unwrap();
    poll.wait(None, &mut events).unwrap();
    assert_eq!(tokens(&events), [u64::MAX]);
    poll.remove(&waker).unwrap();
    poll.wait(Some(Duration::ZERO), &mut events).unwrap();
    assert!(events.is_empty());
    assert_eq!(
        poll.remove(&waker).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    assert_eq!(
        poll.modify(&waker, 1).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}

#[test]
fn closed_sockets_are_forgotten() {
    let mut poll = Poll::new().unwrap();
    let waker = Waker::new().unwrap();
    waker.wake();
    poll.add(&waker, 1).unwrap();
    drop(waker);
    let mut events = Events::with_capacity(1);
    poll.wait(Some(Duration::ZERO), &mut events).unwrap();
    assert!(events.is_empty());
}

#[test]
fn more_ready_members_than_events_take_turns() {
    let wakers: Vec<_> = (0..5).map(|_| Waker::new().unwrap()).collect();
    let mut poll = Poll::new().unwrap();
    for (token, waker) in wakers.iter().enumerate() {
        waker.wake();
        poll.add(waker, token as u64).unwrap();
    }
    let mut events = Events::with_capacity(2);
    let mut seen = Vec::new();
    for _ in 0..3 {
        poll.wait(None, &mut events).unwrap();
        assert_eq!(events.len(), 2);
        seen.extend(tokens(&events));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn timeouts_end_a_wait() {
    let mut poll = Poll::new().unwrap();
    let listener = listener("127.0.0.1");
    poll.add(&listener, 0).unwrap();
    let mut events = Events::with_capacity(1);
    for timeout in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_millis(2),
    ] {
        poll.wait(Some(timeout), &mut events).unwrap();
        assert!(events.is_empty());
    }
}

#[test]
fn endless_timeouts_are_accepted() {
    let waker = Waker::new().unwrap();
    let mut poll = Poll::new().unwrap();
    poll.add(&waker, 3).unwrap();
    waker.wake();
    let mut events = Events::with_capacity(1);
    poll.wait(Some(Duration::MAX), &mut events).unwrap();
    assert_eq!(tokens(&events), [3]);
}

#[test]
fn waker_ends_the_wait_of_another_thread() {
    let waker = Arc::new(Waker::new().unwrap());
    let mut poll = Poll::new().unwrap();
    poll.add(&waker, 9).unwrap();
    let waiting = thread::spawn(move || {
        let mut events = Events::with_capacity(1);
        poll.wait(None, &mut events).unwrap();
        tokens(&events)
    });
    waker.wake();
    assert_eq!(waiting.join().unwrap(), [9]);
}

#[test]
fn wakes_add_up_to_one_and_are_drained_at_once() {
    let waker = Waker::new().unwrap();
    let mut poll = Poll::new().unwrap();
    poll.add(&waker, 0).unwrap();
    let mut events = Events::with_capacity(4);
    waker.drain();
    for _ in 0..3 {
        waker.wake();
    }
    poll.wait(None, &mut events).unwrap();
    assert_eq!(events.len(), 1);
    waker.drain();
    poll.wait(Some(Duration::ZERO), &mut events).unwrap();
    assert!(events.is_empty());
    waker.wake();
    poll.wait(None, &mut events).unwrap();
    assert_eq!(events.len(), 1);
}

#[test]
fn signals_end_a_wait_without_an_event() {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: the handler does nothing, so it may run anywhere at any time.
    unsafe { libc::signal(libc::SIGUSR2, ignore as *const () as libc::sighandler_t) };
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiting = thread::spawn(move || {
        // SAFETY: asks for the calling thread's own handle.
        sender.send(unsafe { libc::pthread_self() }).unwrap();
        let mut events = Events::with_capacity(1);
        Poll::new().unwrap().wait(None, &mut events).unwrap();
        events.is_empty()
    });
    let thread = receiver.recv().unwrap();
    // The first signal may come before the wait has begun.
    while !waiting.is_finished() {
        // SAFETY: the thread has not been joined, so its handle is valid.
        unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
        thread::yield_now();
    }
    assert!(waiting.join().unwrap());
}

fn tokens(events: &Events) -> Vec<u64> {
    events.iter().map(|event| event.token).collect()
}
