use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn head(kind: u8, flags: u8, stream: u32, length: u32) -> FrameHead {
    FrameHead {
        length,
        kind: FrameKind::of(kind),
        flags,
        stream,
        code: 0,
    }
}

/// How many of these frames pass within so many seconds, one round of them every `1/rate` s.
fn passes(rate: u32, seconds: u32, round: &[FrameHead]) -> Result<(), FrameAbuse> {
    let (mut budget, mut stream) = (FrameBudget::default(), 1);
    for number in 0..rate * seconds {
        let now = Duration::from_secs(1) * number / rate;
        for head in round {
            stream += 2 * u32::from(head.kind == FrameKind::Headers);
            budget.receive(FrameHead { stream, ..*head }, now)?;
        }
    }
    Ok(())
}

#[test]
fn heads_are_found_however_the_bytes_are_cut() {
    let bytes = [
        frame(4, 0, 0, &[0; 12]),
        frame(1, 4, 1, b"abc"),
        frame(3, 0, 1, &[0, 0, 0, 8]),
        frame(0, 1, 1, b""),
        frame(0, 0, 0x8000_0003, &[7; 300]),
    ]
    .concat();
    let expected = [
        head(4, 0, 0, 12),
        head(1, 4, 1, 3),
        FrameHead {
            code: CANCEL,
            ..head(3, 0, 1, 4)
        },
        head(0, 1, 1, 0),
        head(0, 0, 3, 300),
    ];
    for size in 1..bytes.len() {
        let mut walk = Walk::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(size) {
            let all = walk.feed(piece, |head| {
                seen.push(head);
                Ok::<_, ()>(())
            });
            assert_eq!(all, Ok(()));
        }
        assert_eq!(seen, expected, "pieces of {size}");
        assert_eq!(walk.under_way(), None);
    }
}

#[test]
fn a_frame_under_way_is_known_by_what_has_come_of_it() {
    let mut walk = Walk::default();
    let bytes = frame(0, 0, 5, &[0; 100]);
    walk.feed(&bytes[..50], |_| Ok::<_, ()>(())).unwrap();
    assert_eq!(walk.under_way(), Some((head(0, 0, 5, 100), 41)));
}

#[test]
fn what_clients_do_is_within_the_budget() {
    let request = head(1, 5, 1, 30);
    let reset = head(3, 0, 1, 4);
    // A browser that leaves a page; a gateway that gives up half of its requests.
    assert_eq!(passes(100, 1, &[request, reset]), Ok(()));
    assert_eq!(passes(2000, 30, &[request, request, reset]), Ok(()));
    // A ping per round trip of a busy line, and one per second on an idle one.
    assert_eq!(
        passes(5000, 10, &[head(0, 0, 1, 100), head(6, 0, 0, 8)]),
        Ok(())
    );
    assert_eq!(passes(1, 3600, &[head(6, 0, 0, 8)]), Ok(()));
    assert_eq!(passes(1, 3600, &[head(4, 0, 0, 6)]), Ok(()));
    // A page whose pictures come into view; a browser that sends frames which mean nothing.
    let (update, nothing) = (head(16, 0, 0, 6), head(0x0b, 0, 1, 3));
    assert_eq!(passes(1000, 5, &[request, update, nothing]), Ok(()));
}

#[test]
fn a_client_that_takes_data_may_open_windows_for_it() {
    let mut budget = FrameBudget::default();
    for _ in 0..100_000 {
        budget.send(head(0, 0, 1, 20), Duration::ZERO).unwrap();
        for stream in [0, 1] {
            let update = head(8, 0, stream, 4);
            budget.receive(update, Duration::ZERO).unwrap();
        }
    }
}

#[test]
fn floods_overdraw_it() {
    let request = head(1, 5, 1, 30);
    for (round, abuse) in [
        (vec![request, head(3, 0, 1, 4)], FrameAbuse::Resets),
        (vec![head(4, 0, 0, 0)], FrameAbuse::Settings),
        (vec![head(6, 0, 0, 8)], FrameAbuse::Pings),
        (vec![head(0, 0, 1, 0)], FrameAbuse::EmptyData),
        (vec![head(0, 8, 1, 1)], FrameAbuse::EmptyData),
        (vec![head(8, 0, 0, 4)], FrameAbuse::WindowUpdates),
        (vec![head(2, 0, 1, 5)], FrameAbuse::Priorities),
        (vec![head(16, 0, 0, 5)], FrameAbuse::Priorities),
        (vec![head(0xbe, 0, 0, 5)], FrameAbuse::Unknown),
        (vec![head(9, 0, 1, 0)], FrameAbuse::Continuations),
    ] {
        let mut rounds = Vec::new();
        if abuse == FrameAbuse::Continuations {
            rounds.push(head(1, 0, 1, 30));
            rounds.extend(vec![round[0]; 20]);
        } else {
            rounds = round;
        }
        assert_eq!(passes(1000, 3, &rounds), Err(abuse));
    }
}

#[test]
fn resets_that_the_client_provokes_count_as_its_own() {
    let provoked = |code| {
        let mut budget = FrameBudget::default();
        let reset = FrameHead {
            code,
            ..head(3, 0, 1, 4)
        };
        (0..1000).try_for_each(|_| budget.send(reset, Duration::ZERO))
    };
    assert_eq!(provoked(1), Err(FrameAbuse::Resets));
    assert_eq!(provoked(NO_ERROR), Ok(()));
}

#[test]
fn a_block_is_open_until_its_last_piece() {
    let mut budget = FrameBudget::default();
    assert!(!budget.in_block());
    budget.receive(head(1, 0, 1, 10), Duration::ZERO).unwrap();
    assert!(budget.in_block());
    budget.receive(head(9, 4, 1, 10), Duration::ZERO).unwrap();
    assert!(!budget.in_block());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_fall_and_no_cut_changes_what_they_mean(
        bytes in proptest::collection::vec(0..20_u8, 0..400),
        size in 1..64_usize,
    ) {
        let judge = |size: usize| {
            let (mut walk, mut budget) = (Walk::default(), FrameBudget::default());
            let mut heads = Vec::new();
            let judged = bytes.chunks(size).try_for_each(|piece| {
                walk.feed(piece, |head| {
                    heads.push(head);
                    budget.send(head, Duration::ZERO)?;
                    budget.receive(head, Duration::ZERO)
                })
            });
            (heads, judged)
        };
        proptest::prop_assert_eq!(judge(size), judge(bytes.len().max(1)));
    }
}
