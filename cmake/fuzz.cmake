# bascule_fuzz(NAME SOURCES file.cpp ... DEPS ...): a target with LLVMFuzzerTestOneInput.
# Seeds lie in tests/fuzz/corpus/NAME/, one input per file; a crash found becomes a seed there.
# With BASCULE_FUZZ (preset fuzz) it is a libFuzzer program; in every other build the same target replays its seeds,
# as a unit test, so that what a fuzzer once found stays found.
if(BASCULE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage in every library, main only in the targets
  add_custom_target(fuzzers COMMENT "Fuzz targets")
endif()

function(bascule_fuzz name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  file(GLOB seeds ${corpus}/*)
  if(NOT seeds)
    message(FATAL_ERROR "bascule_fuzz(${name}): no seed in ${corpus}")
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE bascule_options ${arg_DEPS})
  if(BASCULE_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${name})
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.cpp)
    add_test(NAME unit.fuzz_seeds.${name} COMMAND ${name} ${corpus})
    set_tests_properties(unit.fuzz_seeds.${name} PROPERTIES LABELS unit TIMEOUT 60)
  endif()
endfunction()
