//! Given, when, then.

use ensue::testing::{Given, given};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn ada() -> UserId {
    UserId::of_request("ada")
}

fn session(name: &str) -> SessionId {
    SessionId::from_hash(name.to_owned())
}

fn hash(text: &str) -> PasswordHash {
    serde_json::from_value(serde_json::json!(text)).unwrap()
}

fn registered() -> UserRegistered {
    UserRegistered {
        user: ada(),
        email_key: "key".into(),
        email: "ada@example.com".parse().unwrap(),
        password: hash("one"),
        confirm_until: at(100),
    }
}

fn active() -> Given<User> {
    given((registered(), confirmed("one")))
}

fn confirmed(password: &str) -> UserConfirmed {
    UserConfirmed {
        user: ada(),
        password: hash(password),
    }
}

fn logged_in(name: &str, until: i64) -> UserLoggedIn {
    UserLoggedIn {
        user: ada(),
        session: session(name),
        address: "192.0.2.7".into(),
        until: at(until),
    }
}

fn failed(locked_until: Option<i64>) -> UserLoginFailed {
    UserLoginFailed {
        user: ada(),
        address: "192.0.2.7".into(),
        locked_until: locked_until.map(at),
    }
}

fn changed(password: &str, reset: Option<&str>) -> PasswordChanged {
    PasswordChanged {
        user: ada(),
        password: hash(password),
        reset: reset.map(str::to_owned),
    }
}

#[test]
fn a_user_registers_once() {
    given::<User>(registered())
        .when(|it| it.register(registered()))
        .then_refused(Refusal::NoUser);
}

#[test]
fn an_address_is_confirmed_in_time_or_never() {
    given::<User>(registered())
        .when(|it| it.confirm(confirmed("two"), at(99)))
        .then(confirmed("two"));
    given::<User>(registered())
        .when(|it| it.confirm(confirmed("two"), at(100)))
        .then_refused(Refusal::LinkOver);
    let expired = ConfirmationExpired { user: ada() };
    let gone = given::<User>(registered()).and(expired.clone());
    assert_eq!(
        (gone.state().status(), gone.state().email()),
        (Status::Expired, None)
    );
    gone.when(|it| it.confirm(confirmed("two"), at(50)))
        .then_refused(Refusal::LinkOver);
    assert_eq!(active().and(expired).state().status(), Status::Active);
}

#[test]
fn who_has_not_confirmed_has_no_session() {
    given::<User>(registered())
        .when(|it| it.log_in(logged_in("s", 60), 1, at(1)))
        .then_refused(LoginRefusal::NotConfirmed);
    active()
        .when(|it| it.log_in(logged_in("s", 60), 2, at(1)))
        .then(logged_in("s", 60));
}

#[test]
fn the_password_is_that_of_who_confirms_the_address() {
    let user = given::<User>((registered(), confirmed("two")));
    let password = user.state().credentials(at(1)).map(|it| &it.password);
    assert_eq!(password, Some(&hash("two")));
    user.when(|it| it.log_in(logged_in("s", 60), 1, at(1)))
        .then_refused(LoginRefusal::PasswordChanged);
}

#[test]
fn wrong_passwords_in_a_row_lock_the_user_for_a_while() {
    let four = || active().and([failed(None), failed(None), failed(None), failed(None)]);
    let lock = at(10).plus(LOCKED_FOR).as_micros() / 1_000_000;
    four()
        .when(|it| it.fail(&ada(), "192.0.2.7", 2, at(10)))
        .then(failed(Some(lock)));
    let locked = || four().and(failed(Some(lock)));
    locked()
        .when(|it| it.log_in(logged_in("s", 9_999), 2, at(lock - 1)))
        .then_refused(LoginRefusal::NotNow);
    locked()
        .when(|it| it.fail(&ada(), "192.0.2.7", 2, at(lock - 1)))
        .then_refused(LoginRefusal::NotNow);
    locked()
        .when(|it| it.log_in(logged_in("s", 9_999), 2, at(lock)))
        .then(logged_in("s", 9_999));
    // A right one in between begins the count anew.
    four()
        .and(logged_in("s", 9_999))
        .when(|it| it.fail(&ada(), "192.0.2.7", 2, at(10)))
        .then(failed(None));
}

#[test]
fn another_password_ends_all_sessions_and_what_was_compared_with_the_old_one() {
    let changed = active().and(logged_in("s", 60)).and(changed("two", None));
    assert!(!changed.state().has_session(&session("s"), at(1)));
    changed
        .when(|it| it.log_in(logged_in("t", 60), 2, at(1)))
        .then_refused(LoginRefusal::PasswordChanged);
}

#[test]
fn an_offer_of_a_reset_is_taken_once_and_in_time() {
    let offer = |reset: &str| ResetOffered {
        user: ada(),
        reset: reset.into(),
        until: at(50),
    };
    let reset = changed("two", Some("r"));
    let offered = || active().and(offer("r"));
    offered()
        .when(|it| it.reset_password(reset.clone(), at(49)))
        .then(reset.clone());
    let refused = |given: Given<User>, now| {
        given
            .when(|it| it.reset_password(reset.clone(), at(now)))
            .then_refused(Refusal::LinkOver);
    };
    refused(offered(), 50);
    refused(offered().and(reset.clone()), 10);
    refused(offered().and(offer("later")), 10);
    refused(active(), 10);
}

#[test]
fn sessions_are_bounded_and_end_by_themselves() {
    let mut user = active();
    for number in 0..=SESSIONS_MAX {
        user = user.and(logged_in(&format!("s-{number}"), 100 + number as i64));
    }
    let user = user.state();
    assert!(!user.has_session(&session("s-0"), at(1)));
    assert!(user.has_session(&session("s-1"), at(100)));
    assert!(!user.has_session(&session("s-1"), at(101)));
}

#[test]
fn of_a_user_who_left_nothing_is_kept() {
    let profile = ProfilePublished {
        user: ada(),
        name: "Ada".into(),
        about: String::new(),
    };
    let forgotten = UserForgotten {
        user: ada(),
        email_key: "key".into(),
    };
    let user = active().and((profile, logged_in("s", 60)));
    let gone = user.when(|it| it.forget(&ada(), 2));
    gone.then(forgotten).then_state(|user| {
        let nobody = User {
            status: Status::Forgotten,
            ..User::default()
        };
        assert_eq!(*user, nobody);
    });
}
