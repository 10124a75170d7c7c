"""Faults that this library has had, or that others of its kind have: how each would come back, and what notices it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Fault(NamedTuple):
    """A fault that one change of the code brings back."""

    what: str
    path: str
    """The file in which it is."""
    old: str
    """Text that stands there once."""
    new: str
    """What would stand in its place."""
    test: str
    """A test that fails then, in ``tests``."""


FATE: Final = (
    Fault(
        "a history that lags shows where a message belongs",
        "toolhouse_async/_turn/transcript.py",
        "if is_there else Sight.LAGS",
        "if is_there else Sight.ABSENT",
        "turn/test_sending.py::test_a_history_that_explains_nothing_is_given_up_once_it_has_rested",
    ),
    Fault(
        "a message that is stored in another form is absent",
        "toolhouse_async/_turn/transcript.py",
        "if segments[place].key == said.key else (Sight.ODD, None)",
        "if segments[place].key == said.key else (Sight.ABSENT, None)",
        "turn/test_machine.py::test_the_next_turn_is_refused_where_nobody_can_know",
    ),
    Fault(
        "a message is absent once it has been quiet, though the service may record turns when they end",
        "toolhouse_async/_turn/search.py",
        "wait = recovery.quiet if self._rules.shows_messages_early else recovery.absence",
        "wait = recovery.quiet",
        "turn/test_machine.py::test_the_next_turn_finds_out_first_and_is_sent_where_it_did_not_arrive",
    ),
    Fault(
        "a tool's results that are stored in the user's name end an answer",
        "toolhouse_async/_wire/entries.py",
        'return entry.role == "user" and not _holds_only_results(entry.content)',
        'return entry.role == "user"',
        "wire/test_entries.py::test_a_user_s_entry_that_holds_only_results_is_no_message",
    ),
    Fault(
        "a call without a result ends an answer",
        "toolhouse_async/_wire/entries.py",
        "    if is_open:\n        return End.CALL\n",
        "    if is_open:\n        return End.WORDS\n",
        "wire/test_entries.py::test_what_stands_last",
    ),
    Fault(
        "of two who share a resume of unknown fate, one does not learn what the other has found out",
        "toolhouse_async/_turn/healing.py",
        "if turn.state is not State.HEALING and not turn.run.transcript.has(turn.known_said):",
        "if False:",
        "turn/test_machine.py::test_a_shared_resume_that_another_found_absent_is_sent_again",
    ),
    Fault(
        "time passes for a history that cannot be read",
        "toolhouse_async/_turn/healing.py",
        "    _judge(turn, now, asked_for(error), draw)\n",
        "    turn.seeking._read_at = now\n    _judge(turn, now, asked_for(error), draw)\n",
        "turn/test_healing.py::test_readings_that_fail_are_no_rest",
    ),
    Fault(
        "a message is counted once more when it was found out about",
        "toolhouse_async/_turn/machine.py",
        "turn.said, turn.words, turn.since = left.said, left.words, left.since",
        "turn.said, turn.words, turn.since = turn.run.transcript.say(left.words), left.words, left.since",
        "turn/test_machine.py::test_what_became_of_a_message_is_found_out",
    ),
    Fault(
        "one reading that agrees with half an answer makes it whole",
        "toolhouse_async/_turn/comparison.py",
        "if answer.strict and not rested:",
        "if False:",
        "turn/test_comparison.py::test_where_words_must_be_found_the_history_must_have_rested",
    ),
    Fault(
        "a run's other sessions do not know of its new name",
        "toolhouse_async/_run/participant.py",
        "self._conversation.core.name_run(self._shared, self._turn.agent_id, run_id)",
        "pass",
        "run/test_participant.py::test_an_id_that_an_answer_brought_is_one_more_name_of_the_run",
    ),
    Fault(
        "a cut answer of no words is looked for until it is too late, though its job is over",
        "toolhouse_async/_turn/search.py",
        "return self._has_job and not self._partial and reply is not None and reply.size > 0 and not reply.text",
        "return False",
        "turn/test_healing.py::test_a_cut_answer_without_words_is_resumed_once_its_job_is_over",
    ),
    Fault(
        "a resume that did not get through is given up at once",
        "toolhouse_async/_turn/sending.py",
        "resume_later(turn, error, now, asked_for(error), draw)",
        "raise error",
        "turn/test_machine.py::test_what_was_not_sent_is_raised_for_a_message_and_tried_again_for_a_resume",
    ),
    Fault(
        "a resume that provably did not arrive is not sent again",
        "toolhouse_async/_turn/healing.py",
        "sending.resume_later(turn, why, now, None, draw)",
        "raise turn.unhealed(str(why))",
        "turn/test_machine.py::test_a_resume_of_unknown_fate_is_sent_again_only_where_it_did_not_arrive",
    ),
    Fault(
        "a message whose answer breaks off in its head was not accepted",
        "toolhouse_async/_turn/ending.py",
        "isinstance(error, OutcomeUnknownError | ProtocolError)",
        "isinstance(error, OutcomeUnknownError)",
        "turn/test_sending.py::test_a_message_whose_answer_is_no_http_bars_the_next",
    ),
    Fault(
        "what a turn has brought is forgotten where nobody took it",
        "toolhouse_async/_turn/progress.py",
        "run.unfinished, run.ended = None, result\n        else:",
        "run.unfinished = None\n        else:",
        "turn/test_machine.py::test_a_message_and_its_answer",
    ),
    Fault(
        "a run is resumed a second time after the same job",
        "toolhouse_async/_turn/sending.py",
        "return run.resumed.get(behind)",
        "return None",
        "turn/test_machine.py::test_a_resume_of_unknown_fate_is_looked_for_by_who_waits_later",
    ),
    Fault(
        "an error about an earlier message looks like one about this one",
        "toolhouse_async/_turn/checking.py",
        "from ..errors import ToolhouseError, UncertainSessionError\n",
        "from ..errors import OutcomeUnknownError as UncertainSessionError\nfrom ..errors import ToolhouseError\n",
        "turn/test_machine.py::test_the_next_turn_is_refused_where_it_arrived",
    ),
    Fault(
        "a worker that still speaks is given up after a few refusals",
        "toolhouse_async/_turn/conflicts.py",
        "if self.grew:",
        "if False:",
        "turn/test_machine.py::test_a_worker_that_still_speaks_is_waited_for",
    ),
    Fault(
        "a lost message without words can never be found out about",
        "toolhouse_async/_turn/transcript.py",
        "return (Sight.ABSENT if at == len(segments) - 1 else Sight.ODD), None",
        "return Sight.ODD, None",
        "turn/test_transcript.py::test_the_reply_to_a_message_without_words_is_what_was_not_heard_before_it",
    ),
    Fault(
        "what had been received before a cut is dropped",
        "toolhouse_async/_http/answer.py",
        "                data = self._covered(PIECE)\n            finally:",
        '                data = b""\n            finally:',
        "http/test_transport.py::test_what_came_before_a_cut_is_read_before_the_cut",
    ),
    Fault(
        "what was learned of a message is forgotten",
        "toolhouse_async/_turn/checking.py",
        "earlier.stage, earlier.said.is_certain = Stage.ANSWER, True",
        "is_uncertain = False\n        _check_arrival(is_uncertain=is_uncertain)",
        "turn/test_machine.py::test_the_next_turn_is_refused_where_it_arrived",
    ),
    Fault(
        "a turn that was stopped behind its job is taken up without it",
        "toolhouse_async/_turn/machine.py",
        "            case Stage.JOB:\n                turn.state = State.WAITING\n",
        "            case Stage.JOB:\n                turn.state = State.HEALING\n",
        "turn/test_machine.py::test_a_turn_that_was_stopped_is_taken_up_where_it_was_left",
    ),
    Fault(
        "a job that is found while an answer is looked for is waited for and not resumed after",
        "toolhouse_async/_turn/healing.py",
        "    if turn.state is not State.RESUMING:\n        turn.has_job = True\n",
        "    if turn.state is not State.RESUMING:\n        turn.has_job = False\n",
        "turn/test_healing.py::test_a_job_that_is_seen_running_while_an_answer_is_healed",
    ),
    Fault(
        "of a message that was given up no other process is told",
        "toolhouse_async/_turn/ending.py",
        "        told=not isinstance(error, ClosedError),\n",
        "        told=True,\n",
        "manager/test_manager.py::test_a_message_that_was_given_up_is_asked_about_by_other_processes",
    ),
    Fault(
        "who gave a message up is asked about it",
        "toolhouse_async/_keyed/checkout.py",
        "bars=not is_of_here",
        "bars=True",
        "manager/test_manager.py::test_who_gave_a_message_up_is_not_asked",
    ),
    Fault(
        "a turn that is closed before its message was sent does not say so",
        "toolhouse_async/_turn/ending.py",
        "        error.safe_to_retry = True\n",
        "        pass\n",
        "turn/test_machine.py::test_a_turn_that_is_stopped_says_what_is_known_of_its_message",
    ),
    Fault(
        "an answer that is stored with other white space is another",
        "toolhouse_async/_turn/heard.py",
        "return one == other or squeezed(one) == squeezed(other)",
        "return one == other",
        "turn/test_transcript.py::test_texts_are_compared_without_their_white_space",
    ),
)
"""What became of messages."""

LOOPS: Final = (
    Fault(
        "a limit asks the loop's timer for its time, which some have not",
        "toolhouse_async/_http/watch.py",
        "if when < self._timer_at:",
        "if self._timer is None or when < self._timer.when():  # type: ignore[attr-defined]",
        "loops/test_limits.py::test_limits_of_many_at_once",
    ),
    Fault(
        "a limit counts time in which the loop could not read",
        "toolhouse_async/_http/watch.py",
        "if passes and may_read():",
        "if False:",
        "http/test_watch.py::test_the_loop_reads_once_more_before_a_limit_counts",
    ),
    Fault(
        "a turn may be read on another event loop",
        "toolhouse_async/_driver.py",
        "        self._core.check_loop()\n        return self._core.loop\n",
        "        return self._core.loop\n",
        "loops/test_second_loop.py::test_a_turn",
    ),
    Fault(
        "many events at once may be read on another event loop",
        "toolhouse_async/_held.py",
        "    loop.call_soon(here.clear)\n",
        "",
        "loops/test_second_loop.py::test_many_words_at_once_are_kept_for_their_own_loop",
    ),
    Fault(
        "a loop that is dropped with a request under way complains",
        "toolhouse_async/_http/transport.py",
        "            pass  # the event loop was closed under it\n",
        "            raise\n",
        "http/test_transport.py::test_an_answer_that_is_collected_behind_a_closed_loop_says_nothing",
    ),
    Fault(
        "processes that are made by fork draw the same numbers",
        "toolhouse_async/_client.py",
        "randomness=random.SystemRandom(),",
        "randomness=random.Random(),",
        "loops/test_dropped.py::test_children_draw_numbers_of_their_own",
    ),
    Fault(
        "a step that is given up looks like the end",
        "toolhouse_async/_held.py",
        "            self._raise_once()\n            raise StopAsyncIteration\n",
        "            raise StopAsyncIteration\n",
        "test_held.py::test_a_step_that_is_given_up_does_not_look_like_the_end",
    ),
)
"""What event loops do."""

JOBS: Final = (
    Fault(
        "of a turn that another process began, the rounds before its last message are missing",
        "toolhouse_async/_turn/healing.py",
        "    _catch_up(turn, status)\n",
        "",
        "turn/test_kept.py::test_a_job_behind_a_resume",
    ),
    Fault(
        "a job that an answer tells of is written down only once the answer has ended",
        "toolhouse_async/_run/conversation.py",
        "await journal.answered(turn.announced(self.core.time()))",
        "await journal.answered(None)",
        "manager/test_rounds.py::test_all_rounds",
    ),
    Fault(
        "a resume that was refused is written down as accepted",
        "toolhouse_async/_turn/kept.py",
        "if unsettled is not None and unsettled.stage.is_accepted:",
        "if unsettled is not None:",
        "turn/test_kept.py::test_a_job_says_nothing_of_what_is_of_unknown_fate",
    ),
    Fault(
        "who asks what became of a message does not wait for the turn that is under way",
        "toolhouse_async/_session.py",
        "            await conversation.rest()  # the message may be on its way, or its answer\n",
        "            pass\n",
        "exactly_once/test_uncertainty.py::test_of_a_message_that_is_on_its_way_the_answer_is_waited_for",
    ),
    Fault(
        "of a message that another turn has found absent, the answer to the next one is told",
        "toolhouse_async/_turn/machine.py",
        "if asked is not None and not asked.is_certain and (left is None or left.said is not asked):",
        "if False:",
        "exactly_once/test_uncertainty.py::test_a_message_that_another_turn_has_found_absent_is_absent",
    ),
    Fault(
        "a call that came last is looked after once, where the history keeps no tools",
        "toolhouse_async/_turn/comparison.py",
        "if (reply.end is End.CALL or answer.open_call) and not patient:",
        "if reply.end is End.CALL and not patient:",
        "conversations/test_settle.py::test_a_job_that_begins_late_behind_an_unanswered_call_is_waited_for",
    ),
    Fault(
        "polls that failed before anybody waited count for who waits now",
        "toolhouse_async/_core.py",
        "            poll.join(self.time())\n",
        "            pass\n",
        "run/test_poll.py::test_what_failed_while_nobody_waited_counts_for_nobody",
    ),
    Fault(
        "a run that waits behind a job nobody saw is not resumed",
        "toolhouse_async/_turn/comparison.py",
        "        return Verdict.WAITS\n",
        "        return Verdict.SAME\n",
        "turn/test_machine.py::test_a_job_that_was_over_before_anybody_looked",
    ),
    Fault(
        "a call that has its result is no reason to look for a job",
        "toolhouse_async/_turn/settling.py",
        "return not fold.round_text or fold.round_has_call or answering.shows_no_tools",
        "return not fold.round_text or fold.unanswered_call or answering.shows_no_tools",
        "conversations/test_jobs_in_mid_stream.py::test_a_job_that_runs_behind_an_answered_call_is_waited_for",
    ),
    Fault(
        "text, which shows no tools, is not looked after",
        "toolhouse_async/_turn/settling.py",
        "return not fold.round_text or fold.round_has_call or answering.shows_no_tools",
        "return not fold.round_text or fold.round_has_call",
        "turn/test_healing.py::test_words_alone_are_looked_for_until_the_history_shows_them",
    ),
    Fault(
        "an end that proves nothing is believed where the answer tells of a job",
        "toolhouse_async/_turn/settling.py",
        "    if not turn.is_whole:\n        return True\n",
        "    if not turn.is_whole:\n        return job_id is None\n",
        "turn/test_healing.py::test_an_end_that_proves_nothing_is_compared_before_its_job_is_waited_for",
    ),
    Fault(
        "an id that comes again after its result means the call before",
        "toolhouse_async/_turn/calls.py",
        "if number is None or self._results[number] is not None:",
        "if number is None:",
        "turn/test_calls.py::test_an_id_that_comes_again_after_its_result_means_a_new_call",
    ),
)
"""Jobs that begin in mid-stream."""

READING: Final = (
    Fault(
        "a piece of JSON that broke off is the answer",
        "toolhouse_async/_wire/prose.py",
        "if is_json or end is not None:",
        "if False:",
        "wire/test_prose.py::test_json_that_was_cut_is_no_answer_wherever_it_was_cut",
    ),
    Fault(
        "an error of a well-known type is no error",
        "toolhouse_async/_wire/shapes.py",
        '"error run_error response_failed abort"',
        '"error response_failed abort"',
        "wire/test_decode.py::test_error_types",
    ),
    Fault(
        "the words of a well-known service are none",
        "toolhouse_async/_wire/shapes.py",
        '"content_block_delta"',
        '"content_block_deltas"',
        "wire/test_services.py::test_the_lines_of_services",
    ),
    Fault(
        "thoughts are words",
        "toolhouse_async/_wire/words.py",
        "not (isinstance(kind, str) and normal(kind) in TEXT_BLOCKS)",
        "not isinstance(kind, str)",
        "wire/test_words.py::test_the_text_of_a_block",
    ),
    Fault(
        "a key cannot be copied",
        "toolhouse_async/_http/credentials.py",
        "        return self  # tools that record requests copy their headers\n",
        '        raise TypeError("a key is not copied")\n',
        "http/test_credentials.py::test_copies_of_a_key_are_as_secret_as_the_key",
    ),
    Fault(
        "a proxy's URL without a scheme is shown with its password",
        "toolhouse_async/_http/addresses.py",
        'if what == "proxy" and not (isinstance(url, str) and _HOST_AND_PORT.fullmatch(url)):',
        "if False:",
        "test_client.py::test_a_proxy_that_is_no_url_is_not_shown",
    ),
    Fault(
        "a base URL may have a query",
        "toolhouse_async/_http/addresses.py",
        'if "?" in url or "#" in url:',
        "if False:",
        "test_client.py::test_a_base_url_that_is_none",
    ),
    Fault(
        "what is no number of JSON is sent as null",
        "toolhouse_async/_wire/writing.py",
        'if data and b"null" not in data:',
        "if data:",
        "wire/test_writing.py::test_what_cannot_be_written_is_refused_with_its_place",
    ),
    Fault(
        "any success shows a job to be over",
        "toolhouse_async/_http/service.py",
        "if answer.status != 200 and (only_200 or answer.status == 206):",
        "if False:",
        "http/test_service.py::test_a_success_that_is_no_200_shows_no_job_to_be_over",
    ),
    Fault(
        "a date is reckoned by this machine's clock",
        "toolhouse_async/_wire/answers.py",
        "sent = next((date for date in map(_epoch, said) if not math.isnan(date)), now)",
        "sent = now",
        "wire/test_answers.py::test_a_date_is_reckoned_from_that_of_the_answer",
    ),
    Fault(
        "a quote that is never closed swallows rows",
        "toolhouse_async/_cli/analysis/dialect.py",
        "                _check_quotes(path, taken, first, separator)\n",
        "                pass\n",
        "cli/test_dialect.py::test_a_quote_that_swallows_rows_is_refused_with_its_lines",
    ),
)
"""What comes in."""

SURROUNDINGS: Final = (
    Fault(
        "a transfer coding of a similar name proves an end",
        "toolhouse_async/_wire/answers.py",
        'if _is_only("chunked", codings):',
        'if any("chunked" in coding for coding in codings):',
        "wire/test_answers.py::test_a_transfer_coding_other_than_chunked_is_refused",
    ),
    Fault(
        "the key goes in the clear to a proxy elsewhere",
        "toolhouse_async/_http/addresses.py",
        'if urlsplit(base_url).scheme == "http" and not allow_insecure and not _is_loopback(host):',
        "if False:",
        "security/test_connections.py::test_the_key_does_not_go_in_the_clear_to_a_proxy_elsewhere",
    ),
    Fault(
        "each event of a line is written with the whole line",
        "toolhouse_async/_values/eventjson.py",
        '        del fields["line"]\n',
        "        pass\n",
        "values/test_eventjson.py::test_what_many_events_share_is_not_written_with_each",
    ),
    Fault(
        "a hub counts the line that many events share with each",
        "toolhouse_async/web/_replay.py",
        "if event.line is not self._line:",
        "if True:",
        "web/test_replay.py::test_a_line_that_many_share_is_counted_once",
    ),
    Fault(
        "a key that the service sends back is shown",
        "toolhouse_async/_http/service.py",
        'said = secret.redact(body.decode("utf-8", "replace"))',
        'said = body.decode("utf-8", "replace")',
        "http/test_service.py::test_the_body_of_a_refusal_is_cut_and_the_key_blacked_out",
    ),
    Fault(
        "a poll whose body drips has no limit",
        "toolhouse_async/_http/service.py",
        "async with self.within(limit):",
        "async with self.within(None):",
        "http/test_service.py::test_a_poll_that_hangs_takes_no_longer_than_this",
    ),
    Fault(
        "a store is used on a second event loop",
        "toolhouse_async/stores/_home.py",
        "if self._loop not in (None, loop):",
        "if False:",
        "stores/test_redis.py::test_one_event_loop_uses_it",
    ),
    Fault(
        "part of a URL that is none is shown, with a password",
        "toolhouse_async/stores/_server.py",
        'raise ConfigurationError(f"not the URL of a Redis server: {why}")',
        'raise ConfigurationError(f"not the URL of a Redis server: {url}: {why}")',
        "stores/test_redis.py::test_a_password_that_is_not_encoded",
    ),
    Fault(
        "whoever is on the machine talks to the worker that reads its files",
        "toolhouse_async/_cli/demo_web.py",
        'if scope["path"] == "/" and compare_digest(given, self._token):',
        'if scope["path"] == "/":',
        "cli/test_demo_web.py::test_nobody_else_on_the_machine_can_open_its_page",
    ),
    Fault(
        "the answer of the worker with the command does not tell of its job",
        "toolhouse_async/_cli/csv_analyst.py",
        "async with aclosing(_answer(context, announced=True)) as events:",
        "async with aclosing(_answer(context, announced=False)) as events:",
        "cli/test_csv_analyst.py::test_a_turn_reads_the_file_profiles_it_and_resamples_it",
    ),
    Fault(
        "what cannot be written is lost without a word",
        "toolhouse_async/_cli/streams.py",
        "if not error.reader_left:",
        "if False:",
        "cli/test_streams.py::test_a_stdout_that_cannot_be_written_is_status_1_and_a_word",
    ),
    Fault(
        "a file behind a link that leads nowhere may be read by all",
        "toolhouse_async/stores/_sqlite.py",
        "path = Path(os.path.realpath(self._path))",
        "path = Path(self._path)",
        "stores/test_sqlite.py::test_a_file_behind_a_link_that_dangles_is_its_owners_alone",
    ),
    Fault(
        "why there is no connection is said in the words of the HTTP library",
        "toolhouse_async/_http/transport.py",
        'return f"the {what} at {where} cannot be reached ({why}); check {check} and the network"',
        "return str(failure)",
        "http/test_transport.py::test_why_there_is_no_connection_is_said_as_people_would",
    ),
    Fault(
        "every test run of an environment imports the library",
        "toolhouse_async_pytest.py",
        "import pytest\n\nif TYPE_CHECKING:",
        "import pytest\n\nimport toolhouse_async\n\nif TYPE_CHECKING:",
        "testing/test_pytest_plugin.py::test_a_run_that_does_not_ask_for_the_fixture_loads_nothing_of_ours",
    ),
    Fault(
        "a connection to a server that only reads by now is kept",
        "toolhouse_async/stores/_server.py",
        "        await self.client.connection_pool.disconnect(inuse_connections=False)\n        return await call()\n",
        "        return await call()\n",
        "stores/test_redis.py::test_a_primary_that_becomes_a_replica_is_left",
    ),
    Fault(
        "a store is used by a child process",
        "toolhouse_async/stores/_home.py",
        "return self._process not in (None, os.getpid())",
        "return False",
        "stores/test_sqlite.py::test_a_child_process_is_told",
    ),
    Fault(
        "a traceback shows the key in a header",
        "toolhouse_async/_http/credentials.py",
        "    def __repr__(self) -> str:\n        return _REDACTED\n",
        "    def __repr__(self) -> str:\n        return str.__repr__(self)\n",
        "http/test_credentials.py::test_a_part_of_a_header_is_as_secret_as_the_whole",
    ),
    Fault(
        "a key is shown where a text was cut within it",
        "toolhouse_async/_http/credentials.py",
        "        while start >= 0:",
        "        while False:",
        "http/test_credentials.py::test_half_a_key_at_the_end_of_a_cut_text_is_blacked_out",
    ),
    Fault(
        "what is beyond a hub's bound is held all the same",
        "toolhouse_async/web/_replay.py",
        "        return weight(event, most) + getsizeof(event.line) <= most",
        "        return weight(event, most) <= most",
        "web/test_replay.py::test_an_event_beyond_the_bound_is_not_held",
    ),
    Fault(
        "a link in place of a file is followed",
        "toolhouse_async/_cli/analysis/opening.py",
        '_LAST: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) |',
        "_LAST: Final = os.O_RDONLY |",
        "cli/test_opening.py::test_no_part_of_the_path_is_followed_if_it_is_a_link",
    ),
    Fault(
        "the chat is served with a secret that can be guessed",
        "docs/examples/chat/app.py",
        "    if len(secret) < 32 or len(set(secret)) < 10:",
        "    if not secret:",
        "chat/test_app.py::test_what_is_missing_or_no_protection_is_refused_at_the_start",
    ),
    Fault(
        "another site makes a browser speak to a worker",
        "docs/examples/ag_ui_server.py",
        '.strip().lower() != "application/json":',
        '.strip().lower() == "":',
        "web/test_ag_ui_server.py::test_another_site_cannot_make_a_browser_say_anything",
    ),
    Fault(
        "stores whose prefixes begin alike see each other's keys",
        "toolhouse_async/stores/_server.py",
        '.replace(b":", b"%3A") + b":"',
        '.replace(b":", b"%3A")',
        "stores/test_redis.py::test_stores_of_different_prefixes_do_not_see_each_other",
    ),
    Fault(
        "a platform fetches what a worker links",
        "docs/examples/bots/discord_bot.py",
        "nonce=self._nonce, suppress_embeds=True)",
        "nonce=self._nonce)",
        "bots/test_each.py::test_no_platform_fetches_what_a_worker_links",
    ),
    Fault(
        "one chat that is gone is asked about again and again",
        "docs/examples/bots/conversations.py",
        "            self._aside.add(key)\n",
        "            pass\n",
        "bots/test_restarts.py::test_a_chat_that_is_gone_keeps_no_other_from_its_answer",
    ),
    Fault(
        "an edit that the platform had taken is shown a second time",
        "docs/examples/bots/telegram_bot.py",
        "            return Refusal.NO_NEWS\n",
        "            return Refusal.NEVER\n",
        "bots/test_bots.py::test_an_edit_whose_answer_was_lost_is_not_shown_twice",
    ),
    Fault(
        "a bot stops as late as its platform asks it to wait",
        "docs/examples/bots/conversations.py",
        "await asyncio.wait(self._tasks, timeout=LAST_WORDS)",
        "await asyncio.wait(self._tasks)",
        "bots/test_restarts.py::test_a_platform_that_asks_to_wait_when_the_bot_stops",
    ),
    Fault(
        "a width of one prints letter by letter",
        "toolhouse_async/_cli/terminal.py",
        "width=None if width is None else min(max(width, _NARROWEST), _WIDEST),",
        "width=width,",
        "cli/test_streams.py::test_odd_settings_lose_nothing_of_the_output",
    ),
    Fault(
        "who ends a run in mid-job is not told how to go on",
        "toolhouse_async/_cli/run.py",
        "if turn.run_id is not None and (seen.begun or turn.job_id is not None):",
        "if False:",
        "cli/test_run.py::test_what_ends_in_mid_job_says_how_to_go_on",
    ),
    Fault(
        "a failure is no event for programs",
        "toolhouse_async/_cli/run.py",
        "    show_failure(error, turn.run_id, as_json=request.json, begun=seen.begun, token=seen.token)",
        "    show_failure(error, turn.run_id, as_json=False, begun=seen.begun, token=seen.token)",
        "cli/test_run.py::test_a_failure_is_the_last_event",
    ),
    Fault(
        "a notice sticks to the answer where stdout and stderr are one pipe",
        "toolhouse_async/_cli/words.py",
        "if sys.stdout.isatty() or are_mixed():",
        "if sys.stdout.isatty():",
        "cli/test_streams.py::test_where_both_streams_are_one_notices_are_lines_of_their_own",
    ),
    Fault(
        "who has an answer that was cut behind a job is told to send a further message",
        "toolhouse_async/_cli/run.py",
        "is_answered=isinstance(error, WorkerError)",
        "is_answered=turn.job_id is None",
        "cli/test_run.py::test_what_ends_between_a_job_and_its_answer_says_how_to_get_the_answer",
    ),
    Fault(
        "a message is looked for at a service that is not there",
        "toolhouse_async/_cli/runs/reconciling.py",
        "refusal = await _refusal(session)",
        "refusal = None",
        "cli/runs/test_reconciling.py::test_a_run_that_cannot_be_read_is_said_at_once",
    ),
    Fault(
        "a job that is stuck is not logged",
        "toolhouse_async/observe.py",
        '        self._write("job_polled", record)\n',
        "        return\n",
        "test_log.py::test_a_job_that_is_stuck",
    ),
    Fault(
        "a job is passed over while its key is being let go",
        "toolhouse_async/_keyed/gates.py",
        "return gate is not None and (gate.owner is not None or gate.users > 1)",
        "return gate is not None",
        "manager/test_manager.py::test_a_job_whose_key_is_just_being_let_go_is_taken",
    ),
)
"""What stands around."""

CHECKS: Final = (
    Fault(
        "a check that hangs is not ended",
        ".ci/limit.py",
        "while time.monotonic() < until:",
        "while True:",
        "ci/test_limit.py::test_a_command_that_hangs_is_ended",
    ),
    Fault(
        "plain nox runs what takes long",
        "noxfile.py",
        "@nox.session(default=False)\ndef soak(",
        "@nox.session\ndef soak(",
        "ci/test_sessions.py::test_plain_nox_runs_nothing_that_takes_long",
    ),
)
"""The checks themselves."""

FAULTS: Final = (*FATE, *LOOPS, *JOBS, *READING, *SURROUNDINGS, *CHECKS)
