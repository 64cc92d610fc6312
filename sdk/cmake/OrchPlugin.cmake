# orch_add_plugin(<kind>/<name> SOURCES … [SCHEMA config.capnp] [TESTS …] [TEST_PARTS …] [LIBRARIES …])
#
# Makes, from the folder of the calling CMakeLists.txt:
#   orch_<kind>_<name>_logic  the object library, which tests link
#   orch_<kind>_<name>        the module <kind>.<name>.so, with its install rule
#   orch_<kind>_<name>_test   the tests, run by ctest as <kind>.<name>. Outside of orch's tree ctest
#                             sees them after include(CTest) or enable_testing(). Sources that
#                             TEST_PARTS names, without .cpp, are a test of their own each: all of
#                             them in one would not end in time on a busy machine.
# plugin.cpp, with ORCH_PLUGIN, is always part of the module and never of the object library.
function(orch_add_plugin path)
  cmake_parse_arguments(arg "" "SCHEMA" "SOURCES;TESTS;TEST_PARTS;LIBRARIES;TEST_LIBRARIES" ${ARGN})
  string(REPLACE "/" "_" id ${path})
  string(REPLACE "-" "_" id ${id})
  string(REPLACE "/" "." name ${path})
  set(target orch_${id})
  set(here ${CMAKE_CURRENT_SOURCE_DIR})
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})

  if(NOT arg_SCHEMA)
    set(arg_SCHEMA config.capnp)
  endif()
  set(schema ${here}/${arg_SCHEMA})
  get_filename_component(imports ${ORCH_SCHEMA_DIR}/../.. ABSOLUTE)
  set(compiled ${generated}/${arg_SCHEMA}.bin)
  # orchd learns from the file which methods have no deadline.
  file(GLOB interfaces CONFIGURE_DEPENDS ${ORCH_SCHEMA_DIR}/*.capnp)
  add_custom_command(
    OUTPUT ${generated}/${arg_SCHEMA}.c++ ${generated}/${arg_SCHEMA}.h ${compiled}
    COMMAND ${CAPNP_EXECUTABLE} compile -I${CAPNP_INCLUDE_DIRECTORY} -I${imports} --src-prefix=${here}
            -o${CAPNPC_CXX_EXECUTABLE}:${generated} ${schema}
    COMMAND ${CAPNP_EXECUTABLE} compile -I${CAPNP_INCLUDE_DIRECTORY} -I${imports} --src-prefix=${here}
            --src-prefix=${imports} -o- ${schema} ${interfaces} > ${compiled}
    DEPENDS ${schema} ${interfaces} VERBATIM)
  file(WRITE ${generated}/schema.c "__asm__(\".pushsection .orch.schema,\\\"a\\\",@progbits\\n.incbin \\\"${compiled}\\\"\\n.popsection\");\n")
  set_source_files_properties(${generated}/schema.c PROPERTIES OBJECT_DEPENDS ${compiled})
  set_source_files_properties(${generated}/${arg_SCHEMA}.c++ PROPERTIES COMPILE_OPTIONS "-w")

  add_library(${target}_logic OBJECT ${arg_SOURCES} ${generated}/${arg_SCHEMA}.c++)
  target_include_directories(${target}_logic PUBLIC ${here} ${generated})
  target_link_libraries(${target}_logic PUBLIC orch_sdk ${arg_LIBRARIES})

  add_library(${target} MODULE plugin.cpp ${generated}/schema.c)
  target_link_libraries(${target} PRIVATE ${target}_logic)
  foreach(t ${target} ${target}_logic)
    set_target_properties(${t} PROPERTIES POSITION_INDEPENDENT_CODE ON
      CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON C_VISIBILITY_PRESET hidden)
  endforeach()
  if(NOT ORCH_SANITIZE)
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME ${name}
    INSTALL_RPATH "$ORIGIN/../..")
  if(ORCH_PLUGIN_OUTPUT_DIRECTORY)
    set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${ORCH_PLUGIN_OUTPUT_DIRECTORY})
  endif()
  if(ORCH_PLUGIN_INSTALL_DIR)
    install(TARGETS ${target} LIBRARY DESTINATION ${ORCH_PLUGIN_INSTALL_DIR})
  endif()

  if(arg_TESTS AND (BUILD_TESTING OR NOT DEFINED BUILD_TESTING))
    if(NOT TARGET orch_testing)
      message(FATAL_ERROR "the TESTS of ${path} need Catch2 (Debian: catch2); to do without them: -DBUILD_TESTING=OFF")
    endif()
    add_executable(${target}_test ${arg_TESTS})
    target_link_libraries(${target}_test PRIVATE ${target}_logic orch_testing ${arg_TEST_LIBRARIES})
    target_compile_definitions(${target}_test PRIVATE ORCH_MODULE="$<TARGET_FILE:${target}>")
    add_dependencies(${target}_test ${target})
    set(rest "~[.]")  # of exclusions alone Catch2 takes hidden ones for meant
    foreach(part ${arg_TEST_PARTS})
      add_test(NAME ${name}.${part} COMMAND ${target}_test -\# "[#${part}]")
      string(APPEND rest "~[#${part}]")
    endforeach()
    add_test(NAME ${name} COMMAND ${target}_test -\# ${rest})
  endif()
endfunction()
