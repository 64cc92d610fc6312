# orch_precompile_headers(): what nearly all sources include is parsed twice, not hundreds of times:
# it is half of what g++ does for a usual file. For the targets of this tree, once all are defined.
#
# Two, since g++ gives a declaration its visibility when it parses it. Only headers from outside this
# tree's plugins and kernel are in them, so that a source still says what it needs of those. CMake
# tells clang where they are in a way that ccache does not make relative: what clang compiled is only
# found again by a build in the same folder.
set(ORCH_PRECOMPILED
  <algorithm> <cstdint> <cstring> <filesystem> <fstream> <map> <memory> <optional> <set> <string>
  <string_view> <variant> <vector> <capnp/dynamic.h> <capnp/message.h> <kj/async-io.h> <kj/debug.h>
  <kj/filesystem.h> <kj/function.h> <kj/map.h> <kj/vector.h> <orch/attempt.h> <orch/env.h>
  <orch/fail.h> <orch/host.h> <orch/schema/cluster.capnp.h> <orch/schema/gateway.capnp.h>
  <orch/schema/runtime.capnp.h> <orch/schema/store.capnp.h>)

function(orch_targets_below folder result)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  get_property(subfolders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder ${subfolders})
    orch_targets_below(${subfolder} more)
    list(APPEND targets ${more})
  endforeach()
  set(${result} ${targets} PARENT_SCOPE)
endfunction()

function(orch_precompile_headers)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cpp "")
  foreach(visibility default hidden)
    add_library(orch_headers_${visibility} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cpp)
    target_link_libraries(orch_headers_${visibility} PRIVATE orch_sdk)
    target_precompile_headers(orch_headers_${visibility} PRIVATE ${ORCH_PRECOMPILED})
  endforeach()
  set_target_properties(orch_headers_hidden PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)

  orch_targets_below(${PROJECT_SOURCE_DIR} targets)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    get_target_property(libraries ${target} LINK_LIBRARIES)
    get_target_property(visibility ${target} CXX_VISIBILITY_PRESET)
    if(type MATCHES "UTILITY|MODULE" OR target MATCHES "^orch_headers_" OR NOT libraries MATCHES orch_)
      continue()
    endif()
    if(visibility STREQUAL "hidden")
      target_precompile_headers(${target} REUSE_FROM orch_headers_hidden)
    else()
      target_precompile_headers(${target} REUSE_FROM orch_headers_default)
    endif()
  endforeach()
endfunction()
