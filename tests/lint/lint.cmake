# Lints: each checks the tracked files and, as a second test, shows on bad samples that it can fail.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(lint layers banned sizes safety labels links own_words python monitoring messages)
  add_test(NAME lint.${lint} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/${lint}.py ${PROJECT_SOURCE_DIR})
  add_test(NAME lint.${lint}.can_fail
           COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/${lint}.py --self-test)
  set_tests_properties(lint.${lint} lint.${lint}.can_fail PROPERTIES LABELS lint TIMEOUT 120)
endforeach()

# Prometheus' own tool judges the alert rules; packages-test.txt installs it.
find_program(PROMTOOL promtool)
if(PROMTOOL)
  add_test(NAME lint.alert_rules COMMAND ${PROMTOOL} test rules rules_test.yml
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/packaging/prometheus)
  set_tests_properties(lint.alert_rules PROPERTIES LABELS lint TIMEOUT 60)
endif()
