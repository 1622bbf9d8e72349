# Flags live on INTERFACE targets; sanitizers are directory-wide so that every object matches.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
pkg_check_modules(libvirt REQUIRED IMPORTED_TARGET libvirt)
pkg_check_modules(systemd REQUIRED IMPORTED_TARGET libsystemd)
# Debian ships Boost 1.81 beside 1.74; the headers conflict, so this is whichever is installed.
find_package(Boost 1.81 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_library(BOOST_URL_LIBRARY NAMES libboost_url.a REQUIRED)

# What the programs call themselves: a package gives its own version (debian/rules).
if(NOT BASCULE_VERSION)
  set(BASCULE_VERSION ${PROJECT_VERSION})
endif()

add_library(bascule_options INTERFACE)
target_include_directories(bascule_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(bascule_options INTERFACE _GLIBCXX_ASSERTIONS
                           BASCULE_VERSION="${BASCULE_VERSION}")
target_compile_options(bascule_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
  -Wnon-virtual-dtor -Woverloaded-virtual -Wold-style-cast -Wcast-align -Wdouble-promotion
  -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum
  $<$<CXX_COMPILER_ID:Clang>:-Wno-missing-designated-field-initializers>>
  $<$<BOOL:${BASCULE_WERROR}>:-Werror>)

if(BASCULE_SANITIZE)
  add_compile_options(-fsanitize=${BASCULE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BASCULE_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
endif()

include(${PROJECT_SOURCE_DIR}/cmake/fuzz.cmake)

# bascule_library(NAME SOURCES a.cpp ... DEPS other ...): target bascule_NAME, alias bascule::NAME.
function(bascule_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_library(bascule_${name} STATIC ${arg_SOURCES})
  add_library(bascule::${name} ALIAS bascule_${name})
  target_link_libraries(bascule_${name} PUBLIC bascule_options ${arg_DEPS})
endfunction()

# bascule_test(NAME LABEL unit|contract|... TIMEOUT seconds SOURCES ... DEPS ...)
function(bascule_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE bascule_options ${arg_DEPS} GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX "${arg_LABEL}."
    PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT})
endfunction()
