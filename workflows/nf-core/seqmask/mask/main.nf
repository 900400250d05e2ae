process SEQMASK_MASK {
    tag "$meta.id"
    label 'process_medium'
    label 'process_gpu'

    conda "${ task.accelerator ? "${moduleDir}/environment.gpu.yml" : "${moduleDir}/environment.yml" }"
    container "${ workflow.containerEngine == 'singularity' && !task.ext.singularity_pull_docker_container
        ? 'https://depot.galaxyproject.org/singularity/seqmask-xai:0.1.0--pyhdfd78af_0'
        : 'biocontainers/seqmask-xai:0.1.0--pyhdfd78af_0' }"

    input:
    tuple val(meta), path(reads)
    path model

    output:
    tuple val(meta), path("${prefix}.seqmask.fasta.gz")  , emit: fasta
    tuple val(meta), path("${prefix}.seqmask.bed.gz")    , emit: bed
    tuple val(meta), path("${prefix}.seqmask.tsv")       , emit: tsv
    tuple val(meta), path("${prefix}.seqmask.h5")        , emit: hdf5
    tuple val(meta), path("${prefix}.seqmask_mqc.json")  , emit: multiqc
    tuple val("${task.process}"), val('seqmask'), eval("seqmask --version | sed 's/seqmask //'"), topic: versions, emit: versions_seqmask

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def model_option = model ? "--model ${model}" : ''
    def device = task.accelerator ? 'cuda' : 'cpu'
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    seqmask mask \\
        ${reads} \\
        ${model_option} \\
        --device ${device} \\
        --threads ${task.cpus} \\
        --fasta ${prefix}.seqmask.fasta.gz \\
        --bed ${prefix}.seqmask.bed.gz \\
        --tsv ${prefix}.seqmask.tsv \\
        --hdf5 ${prefix}.seqmask.h5 \\
        --json-report ${prefix}.seqmask_mqc.json \\
        ${args}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    echo "" | gzip -n > ${prefix}.seqmask.fasta.gz
    echo "" | gzip -n > ${prefix}.seqmask.bed.gz
    touch ${prefix}.seqmask.tsv
    touch ${prefix}.seqmask.h5
    touch ${prefix}.seqmask_mqc.json
    """
}
