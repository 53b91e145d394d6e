module edgemesh.lab/pause

go 1.26
