# The decisions and the codec of records: no I/O, milliseconds.
bascule_test(core_test LABEL unit TIMEOUT 30
  SOURCES core_adopt_test.cpp core_alert_send_test.cpp core_alert_test.cpp core_alert_text_test.cpp core_calendar_test.cpp core_care_test.cpp core_drills_test.cpp core_engine_test.cpp core_explain_test.cpp core_four_eyes_test.cpp core_guard_test.cpp core_if_lost_test.cpp core_ha_plan_test.cpp core_ha_test.cpp core_history_hosts_test.cpp core_history_test.cpp core_history_sum_test.cpp core_loss_test.cpp core_model_test.cpp core_names_test.cpp core_notes_test.cpp core_plan_rules_test.cpp core_plan_test.cpp
          core_plan_verbs_test.cpp core_prune_test.cpp core_readiness_test.cpp core_reconcile_test.cpp core_replay_test.cpp core_restore_test.cpp core_right_test.cpp core_timing_test.cpp
  DEPS bascule::core)
bascule_test(codec_test LABEL unit TIMEOUT 30
  SOURCES codec_decode_test.cpp codec_round_trip_test.cpp
  DEPS bascule::codec)
bascule_test(config_test LABEL unit TIMEOUT 30
  SOURCES config_test.cpp
  DEPS bascule::config)
target_compile_definitions(config_test PRIVATE BASCULE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
