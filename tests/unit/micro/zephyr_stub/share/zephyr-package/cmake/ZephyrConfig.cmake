# Enough of Zephyr's CMake package to configure the application: modules are found by module.yml,
# CONFIG_* come from the file STUB_DOTCONFIG, and libraries are CMake's own.
project(zephyr_stub C ASM)

add_library(zephyr_interface INTERFACE)
add_library(app STATIC)
target_link_libraries(app PRIVATE zephyr_interface)

file(STRINGS ${STUB_DOTCONFIG} lines REGEX "^CONFIG_")
foreach(line ${lines})
  string(REGEX MATCH "^([A-Z0-9_]+)=(.*)$" found "${line}")
  set(${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
endforeach()

function(zephyr_linker_sources location)
  foreach(file ${ARGN})
    get_filename_component(file ${file} ABSOLUTE)
    set_property(GLOBAL APPEND PROPERTY STUB_LINKER_${location} ${file})
    message(STATUS "linker ${location}: ${file}")
  endforeach()
endfunction()

function(zephyr_ld_options)
  message(STATUS "ld options: ${ARGN}")
endfunction()

function(zephyr_include_directories)
  target_include_directories(zephyr_interface INTERFACE ${ARGN})
endfunction()

macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC)
  target_link_libraries(${name} PRIVATE zephyr_interface)
endmacro()

function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()

function(zephyr_library_sources_ifdef condition)
  if(${condition})
    target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
  endif()
endfunction()

function(zephyr_library_include_directories)
  target_include_directories(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()

function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()

# The application's own scope must keep what modules set for it, so they are included.
foreach(module ${ZEPHYR_EXTRA_MODULES})
  file(STRINGS ${module}/zephyr/module.yml lines REGEX "^ +cmake: ")
  string(REGEX REPLACE "^ +cmake: *" "" folder "${lines}")
  get_filename_component(module ${module} ABSOLUTE)
  message(STATUS "module: ${module}/${folder}")
  add_subdirectory(${module}/${folder} ${CMAKE_BINARY_DIR}/modules/stub)
endforeach()
