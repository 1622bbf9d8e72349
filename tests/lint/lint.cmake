# Lints: each checks the tracked files and, as a second test, shows on bad samples that it can fail.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(lint layers banned sizes safety links own_words python)
  add_test(NAME lint.${lint} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/${lint}.py ${PROJECT_SOURCE_DIR})
  add_test(NAME lint.${lint}.can_fail
           COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/${lint}.py --self-test)
  set_tests_properties(lint.${lint} lint.${lint}.can_fail PROPERTIES LABELS lint TIMEOUT 120)
endforeach()
