# orch_unity_build(): the sources of each target of this tree are compiled several at a time, since
# most of what a compiler does for one file is reading headers that its neighbours need as well. For
# once all targets are defined.
#
# So names in anonymous namespaces are unique in their target, and scripts/lint compiles files by
# themselves. A unit holds ORCH_UNITY_SIZE sources at most: larger ones make a clean build cheaper
# and the build after an edit dearer.
set(ORCH_UNITY_SIZE 8 CACHE STRING "Sources that are compiled as one")

function(orch_targets_below folder result)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  get_property(subfolders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder ${subfolders})
    orch_targets_below(${subfolder} more)
    list(APPEND targets ${more})
  endforeach()
  set(${result} ${targets} PARENT_SCOPE)
endfunction()

function(orch_unity_build)
  orch_targets_below(${PROJECT_SOURCE_DIR} targets)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "INTERFACE_LIBRARY")  # is not compiled
      continue()
    endif()
    if(NOT type STREQUAL "UTILITY")
      set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${ORCH_UNITY_SIZE})
    endif()
    # Tests run what is optimised, but are not optimised themselves: but for the world that days of
    # simulated time pass in.
    if(target MATCHES "_(test|cases|testing)$|_conformance" AND NOT target STREQUAL "orch_testing")
      target_compile_options(${target} PRIVATE -O0)
    endif()
  endforeach()
endfunction()
