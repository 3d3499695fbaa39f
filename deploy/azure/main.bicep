// Parley on Azure Container Apps: web, workers, Azure Managed Redis, a managed identity and an Azure Bot for Teams.
//   az group create --name parley --location westeurope
//   az deployment group create --resource-group parley --template-file deploy/azure/main.bicep \
//     --parameters image=REGISTRY.azurecr.io/parley:0.1.0 registry=REGISTRY openAiAccount=NAME openAiResourceGroup=GROUP \
//                  chatDeployment=gpt-4.1 secretKeys="$(openssl rand -base64 32)"
// Nothing here holds a key of Azure OpenAI: the identity gets the role Cognitive Services OpenAI User.

@description('Name of everything that is made, at most 20 characters.')
@minLength(3)
@maxLength(20)
param name string = 'parley'

param location string = resourceGroup().location

@description('The image, built from the Dockerfile of this repository.')
param image string

@description('An Azure Container Registry in this resource group that holds the image. Empty: a public image.')
param registry string = ''

@description('The Azure OpenAI (or Azure AI Foundry) resource, and where it is.')
param openAiAccount string
param openAiResourceGroup string = resourceGroup().name
param chatDeployment string
param imageDeployment string = ''

@description('PARLEY_SECRET_KEYS: seals the tokens of installed workspaces and the sessions of the studio. Keep a copy: what it sealed cannot be read without it.')
@secure()
param secretKeys string

@description('Slack: the bot token and the signing secret. Empty: no Slack.')
@secure()
param slackBotToken string = ''
@secure()
param slackSigningSecret string = ''

@description('The studio: a token that signs in as operator. Empty: no studio, unless Entra ID is set up in settings.')
@secure()
param studioToken string = ''

@description('Answer in Microsoft Teams, by an Azure Bot with this identity.')
param teams bool = true

@description('More settings by the names of .env.example: [{ name: \'PARLEY_LIMITS\', value: \'...\' }].')
param settings array = []

@description('Balanced_B1 holds about 1 GB. See docs/operations.md for how much Redis a company needs.')
param redisSku string = 'Balanced_B1'

@minValue(1)
param minWorkers int = 1
param maxWorkers int = 10

var cognitiveServicesOpenAiUser = '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
var acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'
var port = 3978

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
}

module openAiRole 'openai-role.bicep' = {
  name: '${name}-openai-role'
  scope: resourceGroup(openAiResourceGroup)
  params: {
    account: openAiAccount
    principalId: identity.properties.principalId
    roleId: cognitiveServicesOpenAiUser
  }
}

resource openAi 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: openAiAccount
  scope: resourceGroup(openAiResourceGroup)
}

resource acr 'Microsoft.ContainerRegistry/registries@2023-07-01' existing = if (!empty(registry)) {
  name: empty(registry) ? 'none' : registry
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(registry)) {
  name: guid(resourceGroup().id, name, acrPull)
  scope: acr
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPull)
  }
}

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: name
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 30
  }
}

// One shard without clustering: its scripts need no hash slots, and the certificate fits the host name.
// NoEviction and the append-only file keep the promise; Azure syncs the file each second, so a failure of both copies
// within one second can lose what was acknowledged in it. High availability (two copies) is on by default.
resource redis 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: '${name}-${uniqueString(resourceGroup().id)}'
  location: location
  sku: { name: redisSku }
  properties: {
    minimumTlsVersion: '1.2'
    highAvailability: 'Enabled'
    publicNetworkAccess: 'Enabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: redis
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    clusteringPolicy: 'NoCluster'
    evictionPolicy: 'NoEviction'
    accessKeysAuthentication: 'Enabled'
    persistence: {
      aofEnabled: true
      aofFrequency: '1s'
    }
  }
}

resource apps 'Microsoft.App/managedEnvironments@2024-03-01' = {
  name: name
  location: location
  properties: {
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
  }
}

var host = '${name}-web.${apps.properties.defaultDomain}'

var secrets = concat(
  [
    {
      name: 'redis-url'
      value: 'rediss://:${uriComponent(database.listKeys().primaryKey)}@${redis.properties.hostName}:10000/0'
    }
    { name: 'secret-keys', value: secretKeys }
  ],
  empty(slackBotToken)
    ? []
    : [
        { name: 'slack-bot-token', value: slackBotToken }
        { name: 'slack-signing-secret', value: slackSigningSecret }
      ],
  empty(studioToken) ? [] : [{ name: 'studio-token', value: studioToken }]
)

var variables = concat(
  [
    { name: 'HOST', value: '0.0.0.0' }
    { name: 'PORT', value: string(port) }
    { name: 'PARLEY_WORKER_PORT', value: string(port) }
    { name: 'PARLEY_LOG', value: 'json' }
    { name: 'PARLEY_PUBLIC_URL', value: 'https://${host}' }
    { name: 'REDIS_URL', secretRef: 'redis-url' }
    { name: 'PARLEY_SECRET_KEYS', secretRef: 'secret-keys' }
    { name: 'AZURE_CLIENT_ID', value: identity.properties.clientId }
    { name: 'AZURE_OPENAI_ENDPOINT', value: openAi.properties.endpoint }
    { name: 'AZURE_OPENAI_CHAT_DEPLOYMENT', value: chatDeployment }
  ],
  empty(imageDeployment) ? [] : [{ name: 'AZURE_OPENAI_IMAGE_DEPLOYMENT', value: imageDeployment }],
  empty(slackBotToken)
    ? []
    : [
        { name: 'SLACK_BOT_TOKEN', secretRef: 'slack-bot-token' }
        { name: 'SLACK_SIGNING_SECRET', secretRef: 'slack-signing-secret' }
      ],
  empty(studioToken) ? [] : [{ name: 'PARLEY_STUDIO_TOKEN', secretRef: 'studio-token' }],
  teams
    ? [
        { name: 'MicrosoftAppId', value: identity.properties.clientId }
        { name: 'MicrosoftAppType', value: 'UserAssignedMSI' }
        { name: 'MicrosoftAppTenantId', value: tenant().tenantId }
      ]
    : [],
  settings
)

var registries = empty(registry) ? [] : [{ server: acr!.properties.loginServer, identity: identity.id }]

var probes = [
  {
    type: 'Startup'
    httpGet: { path: '/healthz', port: port }
    periodSeconds: 2
    failureThreshold: 60
  }
  {
    type: 'Liveness'
    httpGet: { path: '/healthz', port: port }
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  }
  {
    type: 'Readiness'
    httpGet: { path: '/readyz', port: port }
    periodSeconds: 5
    timeoutSeconds: 5
  }
]

resource web 'Microsoft.App/containerApps@2024-03-01' = {
  name: '${name}-web'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    environmentId: apps.id
    configuration: {
      ingress: { external: true, targetPort: port, transport: 'http' }
      registries: registries
      secrets: secrets
    }
    template: {
      terminationGracePeriodSeconds: 45
      containers: [
        {
          name: 'web'
          image: image
          args: ['web']
          env: variables
          probes: probes
          resources: { cpu: json('0.5'), memory: '1Gi' }
        }
      ]
      scale: {
        minReplicas: 2
        maxReplicas: 5
        rules: [{ name: 'requests', http: { metadata: { concurrentRequests: '200' } } }]
      }
    }
  }
  dependsOn: [pull, openAiRole]
}

resource worker 'Microsoft.App/containerApps@2024-03-01' = {
  name: '${name}-worker'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    environmentId: apps.id
    configuration: {
      registries: registries
      secrets: secrets
    }
    template: {
      terminationGracePeriodSeconds: 45
      containers: [
        {
          name: 'worker'
          image: image
          args: ['worker']
          env: variables
          probes: probes
          resources: { cpu: json('1'), memory: '2Gi' }
        }
      ]
      scale: {
        minReplicas: minWorkers
        maxReplicas: maxWorkers
        rules: [
          {
            name: 'backlog'
            custom: {
              type: 'metrics-api'
              metadata: {
                url: 'https://${host}/metrics'
                format: 'prometheus'
                valueLocation: 'parley_backlog_conversations'
                targetValue: '16'
              }
            }
          }
        ]
      }
    }
  }
  dependsOn: [pull, openAiRole]
}

resource bot 'Microsoft.BotService/botServices@2022-09-15' = if (teams) {
  name: '${name}-${uniqueString(resourceGroup().id)}'
  location: 'global'
  kind: 'azurebot'
  sku: { name: 'S1' }
  properties: {
    displayName: 'Parley'
    endpoint: 'https://${host}/api/messages'
    msaAppId: identity.properties.clientId
    msaAppMSIResourceId: identity.id
    msaAppTenantId: tenant().tenantId
    msaAppType: 'UserAssignedMSI'
  }
}

resource teamsChannel 'Microsoft.BotService/botServices/channels@2022-09-15' = if (teams) {
  parent: bot
  name: 'MsTeamsChannel'
  location: 'global'
  properties: { channelName: 'MsTeamsChannel' }
}

output url string = 'https://${host}'
output slackEvents string = 'https://${host}/slack/events'
output teamsMessages string = 'https://${host}/api/messages'
output teamsAppId string = identity.properties.clientId
