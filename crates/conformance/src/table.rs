//! The table of checks: the suite, the report and [`contract_tests!`] read it.

use super::{
    Check, Need, append, bounds, commit, dead, dedup, filters, groups, order, patterns, read,
    replay, requests, retries, schedule, start, status, storm,
};
use ensue_core::engine::Guarantee;

const RESTART: Need = Need::Restart;
const REPLAY: Need = Need::Guarantee(Guarantee::Replay);
const SCHEDULES: Need = Need::Guarantee(Guarantee::Schedules);
const CONDITIONAL: Need = Need::Guarantee(Guarantee::ConditionalAppend);

/// Every check, by the points of the contract.
pub fn checks() -> &'static [Check] {
    CHECKS
}

macro_rules! table {
    ($dollar:tt $($point:literal $module:ident :: $name:ident [$($need:ident),*])*) => {
        const CHECKS: &[Check] = &[$(Check {
            name: stringify!($name),
            point: $point,
            needs: &[$($need),*],
            run: |lab| Box::pin($module::$name(lab)),
        }),*];

        /// One `#[test]` for each check of the contract suite, on the engine that the given
        /// [`Subject`](crate::Subject) makes; with `each`, by a function that gets
        /// the check's name.
        #[macro_export]
        macro_rules! contract_tests {
            (each $dollar run:path) => {$(
                #[test]
                fn $name() -> Result<(), ::ensue_conformance::Failure> {
                    $dollar run(stringify!($name))
                }
            )*};
            ($dollar subject:expr) => {$(
                #[test]
                fn $name() -> Result<(), ::ensue_conformance::Failure> {
                    let subject = $dollar subject;
                    let outcome = ::ensue_conformance::verify(&subject, stringify!($name))?;
                    if let ::ensue_conformance::Outcome::NotPromised(need) = outcome {
                        println!("not promised: {need}");
                    }
                    Ok(())
                }
            )*};
        }
    };
}

table! { $
    1 append::append_is_durable_when_it_returns [RESTART, REPLAY]
    1 append::append_survives_a_clean_restart [RESTART, REPLAY]
    1 append::append_answers_each_event_in_order [REPLAY]
    1 append::append_positions_increase_per_key []
    1 append::append_keeps_every_attribute [REPLAY]
    1 append::append_of_nothing_is_nothing []
    1 append::append_holds_a_keys_version_to_its_expectation [REPLAY, CONDITIONAL]
    1 append::append_conflict_in_one_appends_none [REPLAY, CONDITIONAL]
    1 append::append_race_has_one_winner [REPLAY, CONDITIONAL]
    1 append::append_beyond_the_limit_is_refused [REPLAY]
    1 append::append_of_the_largest_payload_is_whole_or_refused [REPLAY]
    1 append::append_refuses_bad_topics []
    1 append::append_in_parallel_keeps_every_event [REPLAY]
    1 append::close_is_final_and_idempotent []
    2 dedup::dedup_returns_the_first_position [REPLAY]
    2 dedup::dedup_works_within_one_batch [REPLAY]
    2 dedup::dedup_drops_the_known_part_of_a_batch [REPLAY]
    2 dedup::dedup_tells_sources_apart [REPLAY]
    2 dedup::dedup_delivers_once []
    2 dedup::dedup_survives_crashes_and_restarts [RESTART, REPLAY]
    2 dedup::dedup_holds_between_concurrent_publishers [REPLAY]
    2 dedup::dedup_comes_before_expectations [CONDITIONAL]
    3 order::order_is_kept_per_key []
    3 order::order_is_kept_in_every_group []
    3 order::order_holds_a_key_with_one_member []
    3 order::order_lets_other_keys_pass_a_slow_one []
    3 order::order_is_per_topic_and_key []
    3 order::order_survives_retries []
    3 order::order_survives_member_changes []
    3 order::order_survives_a_crash [RESTART]
    3 order::order_of_settling_is_free_between_keys []
    4 groups::groups_share_the_events []
    4 groups::groups_handle_each_event_once []
    4 groups::groups_take_over_from_a_member_that_leaves []
    4 groups::groups_take_over_from_a_member_that_dies []
    4 groups::groups_wake_a_waiting_heir []
    4 groups::groups_are_independent []
    4 groups::groups_grow_midway []
    4 groups::groups_go_on_after_everybody_left []
    4 groups::groups_lose_nothing_when_a_wait_is_cancelled []
    5 commit::commit_has_settlement_effects_and_state [REPLAY]
    5 commit::commit_survives_a_crash_whole [RESTART, REPLAY]
    5 commit::commit_that_never_came_leaves_nothing [REPLAY]
    5 commit::commit_cut_short_is_whole_or_nothing [REPLAY]
    5 commit::commit_does_not_repeat_an_effect [REPLAY]
    5 commit::commit_of_a_fenced_member_has_no_effect [REPLAY]
    5 commit::commit_of_what_another_holds_is_fenced [REPLAY]
    5 commit::commit_keeps_state_per_group_topic_key_and_name []
    5 commit::commit_of_an_unmet_expectation_has_no_effect [REPLAY, CONDITIONAL]
    5 commit::commit_effects_reach_other_groups_in_order []
    5 commit::commit_may_be_empty [REPLAY]
    5 commit::commit_schedules_and_cancels [REPLAY, SCHEDULES]
    5 commit::commit_applies_effects_in_order [REPLAY, SCHEDULES]
    6 retries::retry_blocks_only_its_key []
    6 retries::retry_comes_back_as_it_was []
    6 retries::retry_keeps_the_order_behind_it []
    6 retries::retry_takes_events_back_late []
    6 retries::retry_is_not_overtaken_by_later_events []
    6 retries::retry_has_a_generation []
    6 retries::retry_counts_its_attempts []
    6 retries::retry_survives_crashes [RESTART]
    6 retries::retry_goes_to_a_member_that_is_left []
    6 retries::retry_shares_a_commit_with_other_outcomes []
    6 retries::crash_counts_as_an_attempt [RESTART]
    6 dead::dead_letter_tells_its_history []
    6 dead::dead_letter_survives_a_crash_and_is_not_delivered [RESTART]
    6 dead::dead_letter_parks_its_key []
    6 dead::dead_letter_lets_its_key_pass_if_asked []
    6 dead::redrive_hands_back_in_order []
    6 dead::redrive_wakes_a_waiting_member []
    6 dead::redrive_that_fails_again_parks_again []
    6 dead::redrive_survives_a_crash [RESTART]
    6 dead::discard_lets_its_key_go_on_in_order []
    6 filters::dead_letters_are_filtered []
    6 filters::redrive_and_discard_take_what_the_filter_says []
    6 dead::dead_letters_of_all_groups_are_listed_oldest_first []
    6 dead::unknown_groups_are_named []
    6 storm::storm_of_failures_leaves_every_event_settled_once []
    6 storm::storm_of_crashes_leaves_every_event_settled_once [RESTART]
    7 start::start_is_where_a_new_group_wants_it [REPLAY]
    7 start::start_at_the_latest_sees_what_comes []
    7 start::start_matters_only_to_a_new_group []
    7 start::start_survives_a_crash [RESTART]
    7 start::reset_moves_a_group_anywhere [REPLAY]
    7 start::reset_survives_a_crash [RESTART]
    7 start::reset_fences_every_member []
    7 start::reset_drops_retries_and_parked_events []
    7 start::reset_keeps_dead_letters []
    7 replay::reset_begins_another_run [RESTART]
    7 replay::reset_holds_back_what_was_settled [RESTART]
    7 replay::reset_back_loses_nothing_that_was_put_aside []
    7 replay::reset_asks_what_becomes_of_state [RESTART]
    7 replay::start_and_reset_refuse_what_is_not_there [REPLAY]
    7 start::delete_forgets_a_group []
    8 schedule::schedule_appends_at_its_time_and_once [SCHEDULES, REPLAY]
    8 schedule::schedule_for_the_past_is_now [SCHEDULES]
    8 schedule::schedule_shares_a_batch_with_appends [SCHEDULES, REPLAY]
    8 schedule::schedule_survives_crashes_and_restarts [SCHEDULES, RESTART, REPLAY]
    8 schedule::schedule_catches_up_after_a_restart [SCHEDULES, RESTART, REPLAY]
    8 schedule::schedule_can_be_cancelled [SCHEDULES]
    8 schedule::schedule_tells_sources_apart [SCHEDULES]
    8 schedule::schedule_cancellation_survives_a_crash [SCHEDULES, RESTART, REPLAY]
    8 schedule::schedule_of_a_known_id_changes_nothing [SCHEDULES, REPLAY]
    8 schedule::schedule_of_a_timer_moves_it [SCHEDULES]
    8 schedule::schedule_goes_by_due_time [SCHEDULES]
    9 requests::request_gets_its_reply []
    9 requests::request_replies_find_their_requester []
    9 requests::request_failure_reaches_the_requester []
    9 requests::request_ends_at_its_deadline []
    10 read::read_selects_topics_keys_and_types [REPLAY]
    10 read::read_selects_positions_and_times [REPLAY]
    10 read::read_goes_page_by_page [REPLAY]
    10 read::read_has_a_limit_of_its_own [REPLAY]
    10 read::read_of_nothing_is_empty [REPLAY]
    10 read::read_waits_for_what_comes [REPLAY]
    10 read::read_finds_the_last_event_of_a_key [RESTART, REPLAY]
    10 read::read_hides_reserved_topics_unless_spelled [REPLAY]
    11 patterns::patterns_select_topics []
    11 patterns::patterns_pick_up_new_topics []
    11 patterns::patterns_filter_types []
    11 patterns::patterns_match_reserved_topics_only_when_spelled []
    12 bounds::bounds_of_what_a_member_holds []
    12 bounds::bounds_of_one_call []
    12 bounds::bounds_hold_over_a_large_backlog []
    12 bounds::bounds_of_a_slow_member_do_not_stall_others []
    12 bounds::bounds_of_a_blocked_key_do_not_stall_others []
    13 status::status_counts_topics []
    13 status::status_knows_the_lag []
    13 status::status_lists_groups_and_members []
    13 status::status_counts_what_waits []
    13 status::status_counts_schedules [REPLAY, SCHEDULES]
    13 status::status_tells_how_far_a_group_is_with_an_event []
}
