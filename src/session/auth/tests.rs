use super::*;
use crate::session::frame::{SubWish, Wants};

fn sub() -> Frame {
    Frame::new(Wants::Sub(Tag::Number(1), SubWish::of("/".into())))
}

#[tokio::test]
async fn what_may_change_the_user_waits_for_what_is_asked() {
    let mut access = Access::new(Presented::default(), None);
    let auth = || Input::Auth {
        id: Tag::Number(7),
        token: "token".into(),
    };
    let unsub = || Input::Unsub {
        id: Tag::Number(8),
        ch: 1,
    };
    assert_eq!(access.hold(auth()), Some(auth()));
    let (answer, answered) = tokio::sync::oneshot::channel::<AuthError>();
    let asking = async { Err(answered.await.expect("an answer")) };
    access.ask(Box::pin(asking), Then::Frame(Box::new(sub())));
    assert_eq!((access.subs_asked(), access.reqs_asked()), (1, 0));
    assert!(access.may_read());
    assert_eq!(access.hold(unsub()), Some(unsub()));
    assert_eq!(access.hold(auth()), None);
    // What came behind it stays behind it.
    assert!(!access.may_read());
    assert_eq!(access.hold(unsub()), None);
    assert_eq!(access.release(), []);
    answer.send(AuthError::Missing).expect("it is waited for");
    let (then, _) = std::future::poll_fn(|task| access.poll_answer(task)).await;
    assert!(matches!(then, Then::Frame(_)));
    assert_eq!(access.release(), [auth(), unsub()]);
    assert!(access.may_read());
}

#[tokio::test]
async fn so_many_authorities_are_asked_at_once() {
    let mut access = Access::new(Presented::default(), None);
    for _ in 0..QUESTIONS {
        assert!(access.may_read());
        access.ask(
            Box::pin(std::future::pending()),
            Then::Frame(Box::new(sub())),
        );
    }
    assert!(!access.may_read());
}
