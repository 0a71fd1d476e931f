# libtorch out of the PyPI wheel, without its CMake package (which stops where no CUDA toolkit is installed). Only the CPU
# libraries are linked; libtorch_cuda is opened at run time where it is installed.
if(NOT OCKHAM_TORCH_DIR)
  file(GLOB candidates ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  if(NOT candidates)
    message(FATAL_ERROR "libtorch is missing: run `make setup`, or name a torch directory with -DOCKHAM_TORCH_DIR=...")
  endif()
  list(GET candidates 0 OCKHAM_TORCH_DIR)
endif()
foreach(library libtorch_cpu.so libc10.so)
  if(NOT EXISTS ${OCKHAM_TORCH_DIR}/lib/${library})
    message(FATAL_ERROR "${OCKHAM_TORCH_DIR}/lib/${library} is missing: run `make setup`")
  endif()
endforeach()

# The wheel carries headers of another fmt; ours must be found first, or calls would not match the library linked.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
list(GET fmt_include 0 fmt_include)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
file(CREATE_LINK ${fmt_include}/fmt ${CMAKE_BINARY_DIR}/include/fmt SYMBOLIC)

add_library(ockham_libtorch INTERFACE)
target_include_directories(ockham_libtorch SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/include
  ${OCKHAM_TORCH_DIR}/include ${OCKHAM_TORCH_DIR}/include/torch/csrc/api/include)
# The threads of our own kernels are those of libtorch: its copy of the OpenMP library, not a second one.
file(GLOB torch_openmp ${OCKHAM_TORCH_DIR}/lib/libgomp*.so*)
if(NOT torch_openmp)
  set(torch_openmp gomp)
endif()
target_link_libraries(ockham_libtorch INTERFACE
  ${OCKHAM_TORCH_DIR}/lib/libtorch_cpu.so ${OCKHAM_TORCH_DIR}/lib/libc10.so ${torch_openmp} Threads::Threads)
target_compile_definitions(ockham_libtorch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)

# Programs find libtorch relative to themselves, so that a checkout can be moved as a whole; CMake's own run path would add the
# absolute one.
file(RELATIVE_PATH torch_from_binary ${CMAKE_BINARY_DIR} ${OCKHAM_TORCH_DIR}/lib)
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH "$ORIGIN/${torch_from_binary}")
