//! One of many reads for all of them: whose credentials go upstream, and what a refusal of theirs ends.

use std::sync::Arc;

use futures_util::FutureExt;

use super::support::*;
use crate::config::Share;
use crate::error::Code;
use crate::event::End;
use crate::hub::*;

fn pool() -> Arc<Target> {
    let route = route("list", sse(), Share::Authenticated, window(10));
    target(&route, "/list", Scope::Authenticated(Principal([7; 32])))
}

fn refused(code: Code) -> End {
    End {
        code,
        status: code.status(),
        retry_ms: None,
        is_final: false,
    }
}

fn join(world: &World, user: &str) -> Subscriber {
    let joined = world.join_as(&pool(), cookie(user), Start::Live);
    joined.unwrap().subscriber
}

#[tokio::test(start_paused = true)]
async fn the_reader_stays_and_a_newcomer_is_not_tried() {
    let world = World::new(ROOMY);
    let alice = join(&world, "alice");
    let feed = world.feed().await;
    assert!(feed.credentials() == cookie("alice"));
    let bob = join(&world, "bob");
    let carol = join(&world, "carol");
    assert!(feed.credentials() == cookie("alice"));
    // The same person with a newer token is the reader yet.
    alice.renew(cookie("alice again"));
    assert!(feed.reader_gone().now_or_never().is_none());
    assert!(feed.credentials() == cookie("alice again"));
    drop(alice);
    assert!(feed.reader_gone().now_or_never().is_some());
    assert!(
        feed.credentials() == cookie("bob"),
        "the one that is here longest"
    );
    assert!(feed.reader_gone().now_or_never().is_none());
    // Without a subscriber it is read on with Bob's credentials, and with Dave's once he has come.
    drop((carol, bob));
    assert!(feed.reader_gone().now_or_never().is_none());
    assert!(feed.credentials() == cookie("bob"));
    let bob = join(&world, "bob");
    assert!(feed.reader_gone().now_or_never().is_none());
    drop(bob);
    let _dave = join(&world, "dave");
    assert!(feed.reader_gone().now_or_never().is_some());
    assert!(feed.credentials() == cookie("dave"));
    assert_eq!(world.feeds(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_reader_goes_alone_and_one_other_is_tried() {
    let world = World::new(ROOMY);
    let mallory = [join(&world, "mallory"), join(&world, "mallory")];
    let feed = world.feed().await;
    feed.credentials();
    let alice = join(&world, "alice");
    let bob = join(&world, "bob");
    let end = refused(Code::Forbidden);
    assert!(feed.may_ask_as_another(&end));
    for theirs in &mallory {
        assert_eq!(theirs.refusal().as_ref(), Some(&end));
    }
    assert!(feed.credentials() == cookie("alice"));
    feed.granted();
    assert!(alice.refusal().is_none() && alice.phase() == Phase::Opening);
    // They are over, and never read again, whatever they bring.
    mallory[0].renew(cookie("mallory again"));
    drop(alice);
    assert!(feed.reader_gone().now_or_never().is_some());
    assert!(feed.credentials() == cookie("bob"));
    // A slot that is given to another subscriber is that one's.
    drop(mallory);
    let carol = join(&world, "carol");
    assert!(carol.refusal().is_none());
    // The second refusal in a row is the topic's own.
    assert!(feed.may_ask_as_another(&end));
    assert!(bob.refusal().is_some());
    assert!(feed.credentials() == cookie("carol"));
    assert!(!feed.may_ask_as_another(&end));
    assert!(carol.refusal().is_none());
}

#[tokio::test(start_paused = true)]
async fn no_other_reader_is_tried_where_none_could_help() {
    let world = World::new(ROOMY);
    let alone = join(&world, "alice");
    let feed = world.feed().await;
    feed.credentials();
    assert!(!feed.may_ask_as_another(&refused(Code::NotFound)));
    assert!(!feed.may_ask_as_another(&refused(Code::Internal)));
    assert!(
        !feed.may_ask_as_another(&refused(Code::Unauthorized)),
        "no other is here"
    );
    drop(alone);
    let world = World::new(ROOMY);
    let _one = world.join(&public(sse(), window(10)), Start::Live);
    let _other = world.join(&public(sse(), window(10)), Start::Live);
    let feed = world.feed().await;
    feed.credentials();
    assert!(!feed.may_ask_as_another(&refused(Code::Forbidden)));
}
