# Functions that turn a folder into a library, a program or a test program.

set(OCKHAM_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
if(OCKHAM_WERROR)
  list(APPEND OCKHAM_WARNINGS -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # ccache cannot cache a precompiled header without it.
  # Programs default to -fPIE, which could not share a header compiled with -fPIC.
  add_compile_options(-fpch-preprocess -fPIC)
  # False reports of GCC 12 in its own std::string (bug 105651).
  list(APPEND OCKHAM_WARNINGS -Wno-restrict)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # One precompiled header serves libraries and programs, so -fPIC must come after the -fPIE of programs; without its time
  # stamp ccache may hand the header out again.
  add_compile_options(-fPIC "SHELL:-Xclang -fno-pch-timestamp")
endif()
if(OCKHAM_SANITIZE)
  add_compile_options(-fsanitize=${OCKHAM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${OCKHAM_SANITIZE})
endif()

if(OCKHAM_FUZZ)
  # Coverage feedback from the libraries, not only from the fuzz targets themselves.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Sources of a folder share the work on what they include. Those of kernels are compiled for several processors, with
# settings that hold to the end of the source.
function(ockham_unite target)
  if(OCKHAM_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
endfunction()

# One precompiled header for each half, shared by all its targets.
function(ockham_precompile target torch)
  if(torch)
    set(owner ockham_pch_torch)
    set(headers <ATen/ATen.h> <fmt/format.h> <string> <vector> <map> <memory> <functional>)
  else()
    set(owner ockham_pch_plain)
    set(headers <nlohmann/json.hpp> <fmt/format.h> <string> <vector> <map> <memory> <functional>)
  endif()
  if(NOT TARGET ${owner})
    file(WRITE ${CMAKE_BINARY_DIR}/${owner}.cc "// Owner of the precompiled header.\n")
    add_library(${owner} OBJECT ${CMAKE_BINARY_DIR}/${owner}.cc)
    target_link_libraries(${owner} PRIVATE fmt::fmt nlohmann_json::nlohmann_json)
    if(torch)
      target_link_libraries(${owner} PRIVATE ockham_libtorch)
    endif()
    target_compile_options(${owner} PRIVATE ${OCKHAM_WARNINGS})
    target_precompile_headers(${owner} PRIVATE ${headers})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
endfunction()

# ockham_library(NAME [TORCH] LINK ...): library ockham_NAME of all sources below ockham/NAME.
function(ockham_library name)
  cmake_parse_arguments(ARG "TORCH" "" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/ockham/${name}/*.cc)
  if(NOT sources)
    add_library(ockham_${name} INTERFACE)
    target_link_libraries(ockham_${name} INTERFACE ${ARG_LINK})
    return()
  endif()
  add_library(ockham_${name} STATIC ${sources})
  target_include_directories(ockham_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(ockham_${name} PUBLIC ${ARG_LINK})
  target_compile_options(ockham_${name} PRIVATE ${OCKHAM_WARNINGS})
  target_compile_definitions(ockham_${name} PRIVATE OCKHAM_VERSION="${PROJECT_VERSION}")
  if(NOT name MATCHES "^(kernels|tensor)$")
    ockham_unite(ockham_${name})
  endif()
  if(ARG_TORCH)
    target_link_libraries(ockham_${name} PUBLIC ockham_libtorch)
    ockham_precompile(ockham_${name} ON)
  else()
    ockham_precompile(ockham_${name} OFF)
  endif()
endfunction()

# ockham_embed(TARGET FILE FUNCTION): the text of a file of the repository, below 32 kB, as std::string_view FUNCTION().
function(ockham_embed target path function)
  file(READ ${PROJECT_SOURCE_DIR}/${path} text)
  set(source ${CMAKE_BINARY_DIR}/embedded/${function}.cc)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [=[
// Made from @path@.
#include <string_view>

namespace ockham {

std::string_view @function@();
std::string_view @function@() {
  return R"text(@text@)text";
}

}  // namespace ockham
]=])
  target_sources(${target} PRIVATE ${source})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${path})
endfunction()

# The sources of some folders, not of those below them.
function(ockham_sources result)
  set(found "")
  foreach(folder ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cc)
    list(APPEND found ${sources})
  endforeach()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# ockham_program(NAME SOURCES folders LINK ...): executable build/<preset>/NAME.
function(ockham_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  ockham_sources(sources ${ARG_SOURCES})
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  target_compile_options(${name} PRIVATE ${OCKHAM_WARNINGS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  ockham_unite(${name})
  set_target_properties(${name} PROPERTIES UNITY_BUILD_BATCH_SIZE 4)  # commands take longer to compile than others
  ockham_precompile(${name} ON)
endfunction()

# ockham_small_program(NAME SOURCES folders [SHARED sources] LIBRARIES ...): executable build/<preset>/NAME of the
# torch-free half that needs no shared library but libc's and libstdc++'s. SHARED: sources that the large program has,
# too. Libraries stand before those that they call.
function(ockham_small_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;SHARED;LIBRARIES" ${ARGN})
  ockham_sources(sources ${ARG_SOURCES})
  list(APPEND sources ${ARG_SHARED})
  find_library(OCKHAM_STATIC_CRYPTO libcrypto.a)
  find_library(OCKHAM_STATIC_YAML libyaml-cpp.a)
  if(NOT OCKHAM_STATIC_CRYPTO OR NOT OCKHAM_STATIC_YAML)
    message(STATUS "${name}: left out, since libcrypto.a or libyaml-cpp.a is missing")
    add_custom_target(${name} COMMAND ${CMAKE_COMMAND} -E echo "${name}: left out, no libcrypto.a or libyaml-cpp.a")
    return()
  endif()
  add_executable(${name} ${sources})
  foreach(library ${ARG_LIBRARIES})
    add_dependencies(${name} ockham_${library})
    target_link_libraries(${name} PRIVATE $<TARGET_FILE:ockham_${library}>)
  endforeach()
  target_link_libraries(${name} PRIVATE ${OCKHAM_STATIC_YAML} ${OCKHAM_STATIC_CRYPTO} ockham_rust Threads::Threads
                                        -static-libgcc -Wl,--gc-sections -Wl,--as-needed $<$<CONFIG:Release>:-s>)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE OCKHAM_VERSION="${PROJECT_VERSION}")
  target_compile_options(${name} PRIVATE ${OCKHAM_WARNINGS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()

# One test program per folder of tests/: tests/io/*_test.cc -> io_test, linked with the library of that folder. Each file
# becomes one ctest entry with its folder as label; files named *_slow_test.cc get the label "slow" too.
function(ockham_tests)
  file(GLOB folders CONFIGURE_DEPENDS LIST_DIRECTORIES true ${PROJECT_SOURCE_DIR}/tests/*)
  foreach(folder ${folders})
    get_filename_component(name ${folder} NAME)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*_test.cc ${folder}/*_fixture.cc)
    if(NOT sources OR name STREQUAL "fuzz")
      continue()
    endif()
    set(library ockham_${name})
    if(name STREQUAL "cli")
      set(library ockham_study)
    endif()
    if(NOT TARGET ${library})
      continue()
    endif()
    add_executable(${name}_test ${sources})
    target_link_libraries(${name}_test PRIVATE ${library} GTest::gtest GTest::gtest_main)
    if(name STREQUAL "cli")
      target_link_libraries(${name}_test PRIVATE ockham_runtime)
    endif()
    target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(${name}_test PRIVATE ${OCKHAM_WARNINGS})
    ockham_unite(${name}_test)
    # Tests of readers have helpers of the same names.
    file(GLOB alike CONFIGURE_DEPENDS ${folder}/readers/*_test.cc)
    set_source_files_properties(${alike} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    # What tests measure is in the libraries; their own loops are short.
    if(CMAKE_BUILD_TYPE STREQUAL "Release")
      target_compile_options(${name}_test PRIVATE -O1)
      if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # False reports of GCC 12 in its std::string.
        target_compile_options(${name}_test PRIVATE -Wno-array-bounds -Wno-stringop-overflow)
      endif()
    endif()
    target_compile_definitions(${name}_test PRIVATE OCKHAM_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                                    OCKHAM_BINARY_DIR="${CMAKE_BINARY_DIR}")
    if(name MATCHES "^(core|io|text|kernels|runtime|bench|serve|world|eval|report|server)$")
      ockham_precompile(${name}_test OFF)
    else()
      ockham_precompile(${name}_test ON)
    endif()
    if(name STREQUAL "pipeline")
      target_link_libraries(pipeline_test PRIVATE ockham_runtime)  # for the comparison of both engines
    endif()
    if(name STREQUAL "cli" AND TARGET ockham)
      add_dependencies(${name}_test ockham)
    endif()
    if(name STREQUAL "runtime")
      add_dependencies(${name}_test ockham-run)  # its chat is tested on a terminal
    endif()
    foreach(source ${sources})
      if(NOT source MATCHES "_test.cc$")
        continue()
      endif()
      get_filename_component(stem ${source} NAME_WE)
      file(STRINGS ${source} lines REGEX "^TEST(_F|_P)?\\(")
      set(suites "")
      foreach(line ${lines})
        if(line MATCHES "^TEST_P\\(([A-Za-z0-9_]+)")
          list(APPEND suites "*/${CMAKE_MATCH_1}.*")
        elseif(line MATCHES "^TEST(_F)?\\(([A-Za-z0-9_]+)")
          list(APPEND suites "${CMAKE_MATCH_2}.*")
        endif()
      endforeach()
      list(REMOVE_DUPLICATES suites)
      list(JOIN suites ":" filter)
      add_test(NAME ${name}/${stem} COMMAND ${name}_test --gtest_filter=${filter} --gtest_brief=1)
      set(labels ${name})
      if(stem MATCHES "_slow_test$")
        list(APPEND labels slow)
        set_tests_properties(${name}/${stem} PROPERTIES COST 100)  # first, so that none is left alone at the end
      else()
        list(APPEND labels unit)
      endif()
      set_tests_properties(${name}/${stem} PROPERTIES LABELS "${labels}" TIMEOUT 600
                           SKIP_REGULAR_EXPRESSION "every test of this file was skipped")
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    endforeach()
  endforeach()
endfunction()

# bench/NAME_bench.cc -> NAME_bench, built only when asked for; kernels_bench and kv_bench without libtorch.
function(ockham_benches)
  foreach(name kernels_bench kv_bench)
    add_executable(${name} EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/bench/${name}.cc)
    target_link_libraries(${name} PRIVATE ockham_bench)
    target_compile_options(${name} PRIVATE ${OCKHAM_WARNINGS})
    ockham_precompile(${name} OFF)
  endforeach()
  target_sources(kernels_bench PRIVATE ${PROJECT_SOURCE_DIR}/bench/sparse_layers.cc)
  if(NOT TARGET ockham_pipeline)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*_bench.cc)
  list(FILTER sources EXCLUDE REGEX "(kernels|kv)_bench")
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} EXCLUDE_FROM_ALL ${source})
    target_link_libraries(${name} PRIVATE ockham_pipeline ockham_world)
    target_compile_options(${name} PRIVATE ${OCKHAM_WARNINGS})
    ockham_precompile(${name} ON)
  endforeach()
endfunction()

# tests/fuzz/NAME.cc -> fuzz_NAME, with libFuzzer, for the torch-free half.
function(ockham_fuzzers)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/*.cc)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE ockham_io ockham_text ockham_eval ockham_server ockham_serve ockham_runtime)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  endforeach()
endfunction()
